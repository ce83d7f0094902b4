//! Certificate and key → connections that are encrypted, in builds with the feature `tls`.

#[cfg(feature = "tls")]
pub(super) use with::{Acceptor, acceptor, handshake};
#[cfg(not(feature = "tls"))]
pub(super) use without::{Acceptor, acceptor, handshake};

#[cfg(feature = "tls")]
mod with {
    use std::path::Path;
    use std::sync::Arc;

    use tokio::net::TcpStream;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::server::TlsStream;

    use crate::error::{Error, Result};
    use crate::predict::http::TlsSettings;

    /// What encrypts.
    pub(in crate::predict::http) type Acceptor = TlsAcceptor;

    /// Reads certificate and key; `None` when the settings have none.
    pub(in crate::predict::http) fn acceptor(settings: &TlsSettings) -> Result<Option<Acceptor>> {
        let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else { return Ok(None) };
        let wrong = |path: &Path, error: &dyn std::fmt::Display| {
            Error::config("tls", path.display().to_string(), format!("expected PEM: {error}"))
        };
        let chain: std::result::Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(certificate).and_then(|certificates| certificates.collect());
        let chain = chain.map_err(|error| wrong(certificate, &error))?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
        let mut config = config.map_err(|error| wrong(certificate, &error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Arc::new(config).into()))
    }

    /// Agrees on keys with a client.
    pub(in crate::predict::http) async fn handshake(
        acceptor: Acceptor,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        acceptor.accept(stream).await
    }
}

#[cfg(not(feature = "tls"))]
mod without {
    use tokio::net::TcpStream;

    use crate::error::Result;
    use crate::predict::http::TlsSettings;

    /// There is none: settings with a certificate are refused before.
    #[derive(Clone)]
    pub(in crate::predict::http) enum Acceptor {}

    pub(in crate::predict::http) fn acceptor(_: &TlsSettings) -> Result<Option<Acceptor>> {
        Ok(None)
    }

    pub(in crate::predict::http) async fn handshake(acceptor: Acceptor, _: TcpStream) -> std::io::Result<TcpStream> {
        match acceptor {}
    }
}
