//! TLS to a peer: whom to trust, and who we are.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::Error;

/// A certificate with those between it and its authority, and its key, in PEM.
pub struct Identity<'a> {
    /// The chain, the own certificate first.
    pub certificates: &'a [u8],
    /// PKCS #8, SEC 1 or PKCS #1.
    pub key: &'a [u8],
}

/// What connections to some peers share.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// `authorities`: PEM of whom to trust. A self-signed certificate in it is trusted as it is: so
    /// nodes pin each other. The peer's certificate must be for the host that is dialled.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what cannot be read, and for a key that is of another certificate.
    pub fn new(authorities: &[u8], identity: Option<Identity<'_>>) -> Result<Self, Error> {
        let wrong =
            |what: &str, why: &dyn std::fmt::Display| Error::Invalid(format!("{what}: {why}"));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities) {
            let certificate = certificate.map_err(|e| wrong("authorities", &e))?;
            roots.add(certificate).map_err(|e| wrong("authorities", &e))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|e| wrong("authorities", &e))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong("TLS", &e))?
            .with_webpki_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::pem_slice_iter(identity.certificates)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|e| wrong("certificate", &e))?;
                let key =
                    PrivateKeyDer::from_pem_slice(identity.key).map_err(|e| wrong("key", &e))?;
                builder.with_client_auth_cert(chain, key).map_err(|e| wrong("certificate", &e))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Tls(Arc::new(config)))
    }

    pub(crate) fn connector(&self) -> tokio_rustls::TlsConnector {
        self.0.clone().into()
    }
}

/// A host as certificates name it.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|_| format!("'{host}' is no name for TLS"))
}
