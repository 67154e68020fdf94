//! Encrypted connections to the cluster.
//!
//! The driver knows nodes by their address, so a node's certificate has to name its IP address.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::super::Tls;
use crate::error::{Context, Error, Result};

/// Trusts the given authorities or else the system's, and shows the client's certificate where there is one.
pub fn config(tls: &Tls) -> Result<Arc<ClientConfig>> {
    // Two providers are linked; without a choice rustls would refuse to guess.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("set up TLS")?
        .with_root_certificates(authorities(tls.ca.as_deref())?);
    let config = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
            builder.with_client_auth_cert(chain, key).context("use the client's certificate for cassandra")?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            return Err(Error::usage("a client's certificate goes with its key")
                .hint("set both `certificate` and `key` in the `tls` of [hot], or neither"));
        }
    };
    Ok(Arc::new(config))
}

fn authorities(ca: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).with_context(|| format!("trust {}", path.display()))?;
            }
        }
        None => {
            // Machines have certificates that not every library understands; what remains decides.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(Error::usage("there is no authority to trust for TLS to cassandra")
            .hint("name a PEM file with `ca` in the `tls` of [hot]"));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(path, error))?;
    certificates.map(|certificate| certificate.map_err(|error| unreadable(path, error))).collect()
}

fn unreadable(path: &Path, error: rustls::pki_types::pem::Error) -> Error {
    Error::usage(format!("{} is no readable PEM file", path.display())).with_source(error.to_string())
}
