use crate::credentials::CredentialRef;
use crate::store_config::{StoreConfig, connect};
use bytes::Bytes;
use ferry_transfer::store::*;
use ferry_transfer::*;
use std::io::{Read, Write};

fn serve() -> String {
    let l = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let a = l.local_addr().unwrap();
    std::thread::spawn(move || {
        for c in l.incoming() {
            let mut c = c.unwrap();
            c.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut get = b"HTTP/1.1 200 OK\r\ncontent-length: 4096\r\netag: \"5d41402abc4b2a76b9719d911017c592\"\r\nlast-modified: Tue, 15 Nov 1994 12:45:26 GMT\r\ncontent-type: text/plain\r\nx-amz-meta-a: 1\r\nx-amz-meta-b: 2\r\ncache-control: no-cache\r\nx-amz-request-id: 12345\r\nserver: x\r\ndate: Tue, 15 Nov 1994 12:45:26 GMT\r\n\r\n".to_vec();
                get.extend_from_slice(&[7u8; 4096]);
                let put = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\netag: \"5d41402abc4b2a76b9719d911017c592\"\r\nx-amz-request-id: 12345\r\n\r\n";
                let mut b = Vec::new();
                let mut t = [0u8; 65536];
                loop {
                    let e = loop {
                        if let Some(p) = b.windows(4).position(|w| w == b"\r\n\r\n") {
                            break p + 4;
                        }
                        let n = c.read(&mut t).unwrap_or(0);
                        if n == 0 {
                            return;
                        }
                        b.extend_from_slice(&t[..n]);
                    };
                    let h = String::from_utf8_lossy(&b[..e]).to_ascii_lowercase();
                    let len: usize = h
                        .lines()
                        .find_map(|l| l.strip_prefix("content-length: "))
                        .map_or(0, |v| v.trim().parse().unwrap());
                    while b.len() < e + len {
                        let n = c.read(&mut t).unwrap();
                        b.extend_from_slice(&t[..n]);
                    }
                    let r: &[u8] = if h.starts_with("get") { &get } else { put };
                    b.drain(..e + len);
                    c.write_all(r).unwrap();
                }
            });
        }
    });
    format!("http://{a}")
}
fn cpu() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}
#[test]
fn perf() {
    let url = serve();
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    const N: u64 = 5000;
    rt.block_on(async {
        for provider in ["minio", "aws"] {
            let mut config: StoreConfig =
                serde_saphyr::from_str(&format!("provider: {provider}\naddressing: path\nregion: r1"))
                    .unwrap();
            config.endpoint = Some(url.clone());
            config.credentials = CredentialRef::Command("echo a b".into());
            let b = connect("x", &config).await.unwrap().bucket("bucket");
            for round in 0..3 {
                let mut spent = [0u64; 2];
                for i in 0..N {
                    let key = Key::new(format!("a/{i}")).unwrap();
                    let t0 = cpu();
                    let g = b
                        .get(GetRequest { key: key.clone(), if_match: None, version_id: None, range: None })
                        .await
                        .unwrap();
                    let body = g.body.collect().await.unwrap();
                    let t1 = cpu();
                    let d = ferry_transfer::checksum::digest(
                        &body,
                        ferry_transfer::checksum::DigestSet { md5: true, crc64_xz: false },
                    );
                    b.put(PutRequest {
                        key,
                        attributes: g.head.attributes,
                        body: body.into(),
                        condition: WriteCondition::None,
                        checksum: BodyChecksum { crc64_nvme: Some(d.crc64_nvme), md5: d.md5 },
                    })
                    .await
                    .unwrap();
                    let t2 = cpu();
                    spent[0] += t1 - t0;
                    spent[1] += t2 - t1;
                }
                println!(
                    "{provider} round {round}: get {} us put {} us",
                    spent[0] / N / 1000,
                    spent[1] / N / 1000
                );
            }
        }
        let conf = aws_sdk_s3::config::Builder::new()
            .behavior_version(crate::http_client::behavior_version())
            .region(aws_sdk_s3::config::Region::new("r1"))
            .endpoint_url(url.clone())
            .force_path_style(true)
            .credentials_provider(aws_credential_types::Credentials::new("a", "b", None, None, "t"))
            .build();
        let c = aws_sdk_s3::Client::from_conf(conf);
        for round in 0..3 {
            let mut spent = [0u64; 2];
            for i in 0..N {
                let t0 = cpu();
                let g = c.get_object().bucket("bucket").key(format!("a/{i}")).send().await.unwrap();
                let ty = g.content_type;
                let md = g.metadata;
                let body: Bytes = g.body.collect().await.unwrap().into_bytes();
                let t1 = cpu();
                c.put_object()
                    .bucket("bucket")
                    .key(format!("a/{i}"))
                    .set_content_type(ty)
                    .set_metadata(md)
                    .body(body.into())
                    .send()
                    .await
                    .unwrap();
                let t2 = cpu();
                spent[0] += t1 - t0;
                spent[1] += t2 - t1;
            }
            println!("bare round {round}: get {} us put {} us", spent[0] / N / 1000, spent[1] / N / 1000);
        }
    });
}
