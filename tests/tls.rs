//! The clients' listener with a certificate: what is said over it, who is turned away, and what is wrong with the files.
//!
//! Built with `--features tls` only, as `.ci/run` does. `tests/tls/` holds a certificate that signs itself, for `localhost`
//! and 127.0.0.1 until 2120, its key, and the key of none. They are of no use elsewhere.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bundles;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bundles::{bundle, written};
use pctr::error::Kind;
use pctr::model::bundle::ModelKind;
use pctr::predict::http::{Limits, ServeOptions, ServerHandle, Source, TlsSettings, spawn};
use serde_json::Value;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

const SECOND: Duration = Duration::from_secs(1);
const GOOD: &str = r#"{"context": {"site": "news"}, "candidates": [{"id": 1}, {"id": 2, "slot": "2"}]}"#;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

fn pair(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> TlsSettings {
    TlsSettings { certificate: Some(certificate.into()), key: Some(key.into()) }
}

fn options(folder: &Path, tls: TlsSettings) -> ServeOptions {
    let source = Source::Bundle(written(folder, &bundle(ModelKind::Ftrl, 1)));
    ServeOptions { listen: ([127, 0, 0, 1], 0).into(), threads: 1, tls, ..ServeOptions::new(source) }
}

fn server(limits: Limits) -> (tempfile::TempDir, ServerHandle) {
    let folder = tempfile::tempdir().unwrap();
    let tls = pair(file("certificate.pem"), file("key.pem"));
    let server = spawn(&ServeOptions { limits, ..options(folder.path(), tls) }).unwrap();
    (folder, server)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(30 * SECOND)).unwrap();
    stream
}

type Encrypted = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// Connects and trusts the test's certificate and nobody else.
fn encrypted(address: SocketAddr, version: &'static SupportedProtocolVersion) -> Encrypted {
    let mut trusted = RootCertStore::empty();
    trusted.add(CertificateDer::from_pem_file(file("certificate.pem")).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    BufReader::new(StreamOwned::new(client, connect(address)))
}

/// Asks for scores on a connection that stays open; status and answer.
fn score(stream: &mut Encrypted) -> (u16, Value) {
    let request = format!("POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{GOOD}", GOOD.len());
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "an answer that began is whole: {head}");
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_slice(&body).unwrap())
}

fn still_answers(address: SocketAddr) {
    assert_eq!(score(&mut encrypted(address, &TLS13)).0, 200);
}

/// What the other side says until it closes.
fn until_closed(mut stream: &TcpStream, within: Duration) -> Vec<u8> {
    stream.set_read_timeout(Some(within)).unwrap();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => said,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => said,
        Err(error) => panic!("it stays open: {error}"),
    }
}

#[test]
fn encrypted_requests_get_the_answers_of_plain_ones() {
    let (_folder, server) = server(Limits::default());
    let folder = tempfile::tempdir().unwrap();
    let plain = spawn(&options(folder.path(), TlsSettings::default())).unwrap();
    let url = format!("http://{}/v1/score", plain.local_addr());
    let expected: Value = ureq::post(url).send(GOOD).unwrap().body_mut().read_json().unwrap();
    for (version, spoken) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)] {
        let mut stream = encrypted(server.local_addr(), version);
        for _ in 0..3 {
            let (status, answer) = score(&mut stream);
            assert_eq!((status, &answer["candidates"]), (200, &expected["candidates"]));
        }
        let client = &stream.get_ref().conn;
        assert_eq!((client.protocol_version(), client.alpn_protocol()), (Some(spoken), Some(b"http/1.1".as_slice())));
    }
    // An open connection ends in order when the service does.
    let mut open = encrypted(server.local_addr(), &TLS13);
    score(&mut open);
    server.join().unwrap();
    assert_eq!(open.read(&mut [0]).expect("the end is told, not a connection cut"), 0);
    plain.join().unwrap();
}

#[test]
fn plain_requests_get_no_answer() {
    let (_folder, server) = server(Limits::default());
    let mut stream = connect(server.local_addr());
    let request = format!("POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{GOOD}", GOOD.len());
    stream.write_all(request.as_bytes()).unwrap();
    // An alert of TLS (content type 21) at most.
    let said = until_closed(&stream, 10 * SECOND);
    assert!(said.is_empty() || said[0] == 21, "{}", String::from_utf8_lossy(&said));
    still_answers(server.local_addr());
    server.join().unwrap();
}

#[test]
fn handshakes_that_never_end_are_ended() {
    let (_folder, server) = server(Limits { header_ms: 300, ..Limits::default() });
    let address = server.local_addr();
    let (began, silent) = (Instant::now(), connect(address));
    assert!(until_closed(&silent, 10 * SECOND).is_empty());
    assert!(began.elapsed() >= Duration::from_millis(250), "it had the time of a head");
    // A byte now and then is not enough.
    let mut slow = connect(address);
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 500]].concat();
    let ended = hello.iter().any(|byte| {
        std::thread::sleep(Duration::from_millis(20));
        slow.write_all(&[*byte]).is_err()
    });
    assert!(ended, "all of it was taken");
    still_answers(address);
    server.join().unwrap();
}

#[test]
fn a_connection_too_many_is_closed() {
    let (_folder, server) = server(Limits { connections: 1, ..Limits::default() });
    let mut held = encrypted(server.local_addr(), &TLS13);
    assert_eq!(score(&mut held).0, 200);
    // It could not read a 503 that is not encrypted.
    assert_eq!(until_closed(&connect(server.local_addr()), 10 * SECOND), b"");
    assert_eq!(score(&mut held).0, 200);
    server.join().unwrap();
}

#[test]
fn files_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let certificate = std::fs::read_to_string(file("certificate.pem")).unwrap();
    let cut = made("cut.pem", &certificate[..certificate.len() / 2]);
    let garbled = made("garbled.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let (good, key) = (file("certificate.pem"), file("key.pem"));
    let options = options(folder.path(), TlsSettings::default());
    let cases = [
        (pair("/nowhere.pem", &key), Kind::Io, vec!["/nowhere.pem", "cannot read"]),
        (pair(&good, "/nowhere.pem"), Kind::Io, vec!["/nowhere.pem", "cannot read"]),
        (
            pair(&key, &key),
            Kind::Config,
            vec!["tls.certificate", "key.pem", "expected a certificate chain in PEM, got none"],
        ),
        (
            pair(&good, &good),
            Kind::Config,
            vec!["tls.key", "certificate.pem", "expected a private key in PEM, got none"],
        ),
        (pair(&cut, &key), Kind::Config, vec!["tls.certificate", "cut.pem", "section end"]),
        (pair(&garbled, &key), Kind::Config, vec!["tls.certificate", "garbled.pem", "invalid peer certificate"]),
        (
            pair(&good, file("other_key.pem")),
            Kind::Config,
            vec!["tls.key", "other_key.pem", "expected the key of", "/certificate.pem"],
        ),
        (TlsSettings { key: None, ..pair(&good, &key) }, Kind::Config, vec!["tls.certificate", "together"]),
    ];
    for (tls, kind, told) in cases {
        let error = spawn(&ServeOptions { tls, ..options.clone() }).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.kind(), kind, "{message}");
        assert!(told.iter().all(|part| message.contains(part)), "{message}: {told:?}");
    }
}
