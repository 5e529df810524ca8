use super::*;

fn reference(text: &str) -> CredentialRef {
    text.parse().expect("reference")
}

#[test]
fn references_print_as_they_are_read() {
    for text in [
        "ambient",
        "anonymous",
        "env:OSS",
        "file:/run/keys.json",
        "ssm:/ferry/oss",
        "command:s3info keys --machine-output",
        "profile:archive",
    ] {
        assert_eq!(reference(text).to_string(), text);
    }
}

#[test]
fn a_key_pasted_for_a_reference_is_not_repeated() {
    for text in ["AKIAEXAMPLE:SECRET", "keys:SECRET", "env:", "anonymous:SECRET", ""] {
        let error = text.parse::<CredentialRef>().expect_err(text);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(!error.chain().contains("SECRET"), "{error}");
    }
}

#[test]
fn the_environment_is_read_under_the_prefix() {
    let reference = reference("env:OSS");
    let keys = reference
        .read_environment("OSS", |name| match name {
            "OSS_ACCESS_KEY_ID" => Some("A".into()),
            "OSS_SECRET_ACCESS_KEY" => Some("S".into()),
            _ => None,
        })
        .expect("keys");
    assert_eq!((keys.access_key_id.as_str(), keys.session_token), ("A", None));
    let error = reference.read_environment("OSS", |_| None).expect_err("nothing set");
    assert!(error.to_string().contains("OSS_ACCESS_KEY_ID is not set"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn a_file_is_followed() {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), r#"{"access_key_id":"A","secret_access_key":"S","session_token":"T"}"#)
        .expect("write");
    let keys = reference(&format!("file:{}", file.path().display()))
        .resolve()
        .await
        .expect("resolved")
        .expect("keys");
    assert_eq!(keys.session_token.as_deref(), Some("T"));
    assert_eq!(format!("{keys:?}"), "Credentials(..)");
}

#[tokio::test]
async fn a_command_is_run_and_its_two_words_are_read() {
    let keys = reference("command:printf '%s %s\\n' A S").resolve().await.expect("resolved").expect("keys");
    assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.as_str()), ("A", "S"));
}

#[tokio::test]
async fn what_a_wrong_source_holds_is_not_repeated() {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), r#"{"access_key_id": 7, "secret_access_key": "HUSH"}"#).expect("write");
    let text = format!("file:{}", file.path().display());
    for wrong in [text.as_str(), "command:printf HUSH", "command:sh -c 'echo HUSH >&2; exit 3'"] {
        let error = reference(wrong).resolve().await.expect_err(wrong);
        let message = error.chain().replace(wrong, "");
        assert!(!message.contains("HUSH"), "{message}");
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }
}

#[tokio::test]
async fn a_parameter_is_asked_for_decrypted() {
    use crate::aws_api::{AwsApi, Service};
    use crate::parameters::SsmParameters;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let endpoint = format!("http://{}", listener.local_addr().expect("address"));
    let answering = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.expect("connection");
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            connection.read_buf(&mut request).await.expect("request");
        }
        let body = r#"{"Parameter":{"Value":"{\"access_key_id\":\"A\",\"secret_access_key\":\"S\"}"}}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        connection.write_all(answer.as_bytes()).await.expect("answer");
        String::from_utf8(request).expect("text")
    });
    let keys = aws_credential_types::Credentials::new("a", "s", None, None, "test");
    let reference = reference("ssm:/ferry/oss");
    let parameters = SsmParameters(AwsApi::at(Service::Ssm, &endpoint, keys));
    let text = reference.ask(&parameters, "/ferry/oss").await.expect("value");
    assert_eq!(reference.read_text(&text).expect("keys").access_key_id, "A");
    let request = answering.await.expect("answered");
    assert!(
        request.contains("x-amz-target: AmazonSSM.GetParameter")
            && request.contains("/eu-west-1/ssm/aws4_request"),
        "{request}"
    );
    assert!(
        request.contains(r#""Name":"/ferry/oss""#) && request.contains(r#""WithDecryption":true"#),
        "{request}"
    );
}

#[tokio::test]
async fn a_parameter_that_is_not_there_is_named() {
    let parameters = crate::parameters::tests::Known::default();
    let error = reference("ssm:/ferry/oss").ask(&parameters, "/ferry/oss").await.expect_err("none");
    assert!(
        error.to_string().contains("ssm:/ferry/oss") && error.kind() == ErrorKind::Configuration,
        "{error}"
    );
}
