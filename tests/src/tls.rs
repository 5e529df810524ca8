//! TLS in front of a server on loopback.
//!
//! Owns: one key and one certificate for 127.0.0.1, made when asked for, and a listener that takes TLS off what comes and passes the
//! rest on as it is. Does not own: the server behind. Invariant: everything ends when it is dropped, and nothing is written down but
//! the certificate, which is public.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// Whether a certificate holds today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// For long.
    Valid,
    /// It ended with the year 2020.
    Expired,
}

/// A server's identity: a certificate that vouches for itself.
#[derive(Clone)]
pub struct Identity {
    pem: String,
    server: Arc<ServerConfig>,
}

impl Identity {
    /// Makes one.
    pub fn new(validity: Validity) -> Self {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a host");
        if validity == Validity::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 12, 31);
        }
        let key = KeyPair::generate().expect("randomness");
        let certificate = params.self_signed(&key).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("the certificate's own key");
        Self { pem: certificate.pem(), server: Arc::new(server) }
    }

    /// Writes the certificate into a directory: programs take it for a root when `SSL_CERT_FILE` names it.
    pub fn write_root(&self, directory: &Path) -> PathBuf {
        let path = directory.join("root.pem");
        std::fs::write(&path, &self.pem).expect("a file");
        path
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// TLS in front of one server.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    accept: AbortHandle,
}

impl TlsFront {
    /// Listens on a free port for `http://HOST:PORT`.
    pub async fn start(identity: &Identity, behind: &str) -> Self {
        let behind = behind.strip_prefix("http://").expect("a URL of plain HTTP").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.server));
        let accept = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(pass(acceptor.clone(), socket, behind.clone()));
            }
        });
        Self { address, accept: accept.abort_handle() }
    }

    /// The base URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// One connection, to its end. A client that does not trust the certificate ends it; so does one that has enough.
async fn pass(acceptor: TlsAcceptor, socket: TcpStream, behind: String) {
    let passed = async {
        // Small answers otherwise wait 40 ms for a delayed acknowledgement.
        socket.set_nodelay(true)?;
        let mut client = acceptor.accept(socket).await?;
        let mut server = TcpStream::connect(&behind).await?;
        server.set_nodelay(true)?;
        copy_bidirectional(&mut client, &mut server).await
    };
    if let Err(error) = passed.await {
        tracing::debug!(%error, "a connection ended early");
    }
}
