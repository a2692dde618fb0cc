//! Origins with TLS: whom the node trusts.

use std::{
    io::{BufRead, BufReader, Write, copy},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread,
};

use kithara::demo;

use crate::{node::node, origin::origin};

/// The certificate of an authority of the tests, and one of it for `localhost`; see their README.
const AUTHORITY: &str = "tests/material/ca.pem";
const CERTIFICATE: &[u8] = include_bytes!("../material/localhost.der");
const KEY: &[u8] = include_bytes!("../material/localhost.key.der");

/// Gives what `origin` says with TLS, one answer on each connection. Returns its port.
fn sealed(origin: SocketAddr) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CERTIFICATE.into()], KEY.try_into().unwrap())
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = rustls::StreamOwned::new(session, socket);
            // Who does not trust it breaks off.
            thread::spawn(move || pass_on(stream, origin));
        }
    });
    port
}

fn pass_on(
    stream: rustls::StreamOwned<rustls::ServerConnection, TcpStream>,
    origin: SocketAddr,
) -> std::io::Result<()> {
    let (mut stream, mut head) = (BufReader::new(stream), String::new());
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let mut plain = TcpStream::connect(origin)?;
    plain.write_all(head.as_bytes())?;
    plain.shutdown(Shutdown::Write)?;
    let sealed = stream.get_mut();
    copy(&mut plain, sealed)?;
    sealed.conn.send_close_notify();
    sealed.flush()
}

#[test]
fn an_origin_is_trusted_by_its_certificate() {
    let file = demo::FILES.iter().find(|file| file.name == "strings.flac").unwrap();
    let origin = origin().file("strings.flac", file.bytes).start();
    let flag = format!("sealed=https://localhost:{}/", sealed(origin.address()));
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join(AUTHORITY);
    let trusting = node()
        .arg("--origin")
        .arg(&flag)
        .variable("SSL_CERT_FILE", authority.to_str().unwrap())
        .start();
    assert_eq!(trusting.wav("sealed:strings.flac", "").frames() as u64, file.frames);
    assert!(trusting.get("/o/sealed/strings.flac").ok().body == file.bytes);
    let asked = origin.asked("strings.flac").len();
    let wary = node().arg("--origin").arg(&flag).set("LIMITS__ORIGIN_RETRIES", "0").start();
    for path in ["/v1/pcm?src=sealed:strings.flac", "/o/sealed/strings.flac"] {
        let answer = wary.get(path);
        assert_eq!(answer.status, 502);
        assert!(answer.text().contains("TLS"), "{}", answer.text());
    }
    assert_eq!(origin.asked("strings.flac").len(), asked, "nothing was asked of it");
}
