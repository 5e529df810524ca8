//! A server on loopback that answers every request with what a test wrote down.
//!
//! For answers that no sound store gives. Checks nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running server; it stops when it is dropped.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

/// What to answer.
#[derive(Debug, Clone)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Scripted {
    /// Answers the request with this number, from 0, and this target with what `answer` says.
    pub async fn start(answer: impl Fn(usize, &Uri) -> Page + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(AtomicUsize::new(0));
        let (answer, counter) = (Arc::new(answer), Arc::clone(&requests));
        let routes = Router::new().fallback(move |uri: Uri| {
            let page = answer(counter.fetch_add(1, Ordering::Relaxed), &uri);
            let status = StatusCode::from_u16(page.status).expect("a status");
            async move { (status, [(header::CONTENT_TYPE, page.content_type)], page.body).into_response() }
        });
        let serving = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("served");
        });
        Self { address, requests, serving }
    }

    /// The base URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A page of a listing, as XML.
pub fn list_page(keys: &[&str], next: Option<&str>) -> Page {
    let mut body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>docks</Name><MaxKeys>1000</MaxKeys>"
        .to_owned();
    body.push_str(&format!(
        "<KeyCount>{}</KeyCount><IsTruncated>{}</IsTruncated>",
        keys.len(),
        next.is_some()
    ));
    if let Some(next) = next {
        body.push_str(&format!("<NextContinuationToken>{next}</NextContinuationToken>"));
    }
    for key in keys {
        body.push_str(&format!(
            "<Contents><Key>{key}</Key><Size>1</Size><ETag>&quot;0cc175b9c0f1b6a831c399e269772661&quot;</ETag>\
             <LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        ));
    }
    body.push_str("</ListBucketResult>");
    Page { status: 200, content_type: "application/xml", body }
}
