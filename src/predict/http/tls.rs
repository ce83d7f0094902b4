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
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
    use tokio_rustls::rustls::{self, ServerConfig};
    use tokio_rustls::server::TlsStream;

    use crate::error::{Error, Result};
    use crate::predict::http::TlsSettings;

    /// What encrypts.
    pub(in crate::predict::http) type Acceptor = TlsAcceptor;

    /// Reads certificate and key; `None` when the settings have none.
    ///
    /// # Errors
    /// Io when a file cannot be read; config, naming key and file, when it is no PEM or the two do not belong together.
    pub(in crate::predict::http) fn acceptor(settings: &TlsSettings) -> Result<Option<Acceptor>> {
        let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else { return Ok(None) };
        let chain: Vec<CertificateDer<'static>> = sections("tls.certificate", certificate, "a certificate chain")?;
        let private: PrivateKeyDer<'static> = sections("tls.key", key, "a private key")?.swap_remove(0);
        // The provider is named: what another crate brings into the build changes nothing here.
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Bug(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private);
        let mut config = config.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let (key, certificate) = (key.display(), certificate.display());
                refused("tls.key", format!("{key}: expected the key of {certificate}, got that of another certificate"))
            }
            error => refused("tls.certificate", format!("{} with {}: {error}", certificate.display(), key.display())),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Arc::new(config).into()))
    }

    /// What a PEM file has of one kind, at least one.
    fn sections<Section: PemObject>(setting: &str, path: &Path, expected: &str) -> Result<Vec<Section>> {
        let text = std::fs::read(path).map_err(Error::io(path, "read"))?;
        let wrong = |got: &dyn std::fmt::Display| {
            refused(setting, format!("{}: expected {expected} in PEM, got {got}", path.display()))
        };
        let sections: std::result::Result<Vec<Section>, pem::Error> = Section::pem_slice_iter(&text).collect();
        match sections.map_err(|error| wrong(&error))? {
            none if none.is_empty() => Err(wrong(&"none")),
            some => Ok(some),
        }
    }

    fn refused(setting: &str, message: String) -> Error {
        Error::config("serve", setting, message)
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
