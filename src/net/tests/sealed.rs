//! Origins with TLS: who is trusted, and that bodies heal there too.

use super::*;

#[test]
fn plain_http_where_tls_should_be_is_not_trusted() {
    let origin = Scripted::start(|_, _| (head("200 OK", ""), Then::Close));
    let port = origin.address.port();
    let result = on_shard(move || async move {
        let base = format!("https://localhost:{port}/").parse().unwrap();
        let origin = Origin::new("tls", base).unwrap().allow_literal();
        let client = Client::new(quick(), &Roots::load(), Resolver::system());
        client.get(&origin, &origin.url("song").unwrap(), &whole()).await.map(|_| ())
    });
    assert!(matches!(result, Err(Error::Tls(_) | Error::Connection(_))), "{result:?}");
}

/// A certificate for `origin.example` that signs itself, valid until 2126, and its key. Made by
/// `openssl req -new -x509 -days 36500 -outform DER` with a P-256 key; it protects nothing.
const CERTIFICATE: &[u8] = include_bytes!("../testdata/origin.example.der");

const KEY: &[u8] = include_bytes!("../testdata/origin.example.key.der");

/// An origin with TLS that answers like [`part`], but only `cut_at` bytes of its first body, after
/// which the connection is closed without a word. Returns its port.
#[allow(clippy::disallowed_methods, reason = "the other side of the network is no shard")]
fn sealed_origin(bytes: usize, cut_at: Option<usize>) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CERTIFICATE.into()], KEY.try_into().unwrap())
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut cut_at = cut_at;
        for socket in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(rustls::StreamOwned::new(session, socket));
            while let Some(asked) = read_head(&mut stream) {
                let Some(at) = cut_at.take() else {
                    let sent = stream.get_mut().write_all(&part(&song(bytes), &asked, TAG));
                    if sent.is_err() { break } else { continue }
                };
                stream.get_mut().write_all(&cut(&song(bytes), &asked, TAG, at)).unwrap();
                break;
            }
        }
    });
    port
}

/// Downloads from a sealed origin by the name `host`, trusting `roots`, twice.
fn download_sealed(host: &'static str, port: u16, roots: Roots) -> Result<(Got, Stats), Error> {
    on_shard(move || {
        let roots = roots.clone();
        async move {
            let base = format!("https://{host}:{port}/").parse().unwrap();
            let mut origin = Origin::new("tls", base).unwrap();
            origin.allow_private = vec!["127.0.0.0/8".parse().unwrap()];
            let table = Table::default();
            table.set(host, &[Ipv4Addr::LOCALHOST.into()]);
            let client = Client::new(quick(), &roots, Resolver::Table(table));
            let (origin, url) = (Rc::new(origin.clone()), origin.url("song")?);
            let start = || {
                let place = place(client.clone(), origin.clone(), url.clone());
                Download::start(place, (0, None), Known::default())
            };
            let first = drain(&mut start().await?.1).await;
            let second = drain(&mut start().await?.1).await;
            assert!(first == second, "both are the song");
            Ok((second, client.stats()))
        }
    })
}

#[test]
fn sealed_bodies_arrive_whole_on_one_connection_and_heal_when_cut() {
    let roots = Roots::only([CERTIFICATE.to_vec()]).unwrap();
    let port = sealed_origin(2_000_000, None);
    let (got, stats) = download_sealed("origin.example", port, roots.clone()).unwrap();
    assert!(got == (song(2_000_000), Ok(())), "the bytes are the song's");
    assert_eq!((stats.connections, stats.reused), (1, 1));

    let port = sealed_origin(500_000, Some(123_456));
    let (got, stats) = download_sealed("origin.example", port, roots).unwrap();
    assert!(got == (song(500_000), Ok(())), "the bytes are the song's");
    assert_eq!((stats.connections, stats.retries), (2, 1));
}

#[test]
fn a_wrong_name_and_an_unknown_issuer_are_not_trusted() {
    let known = Roots::only([CERTIFICATE.to_vec()]).unwrap();
    for (host, roots) in [("other.example", known), ("origin.example", Roots::load())] {
        let result = download_sealed(host, sealed_origin(10, None), roots);
        assert!(matches!(result, Err(Error::Tls(_))), "{host}: {result:?}");
    }
}
