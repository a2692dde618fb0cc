//! One question: when it is asked again, and what is never asked.

use super::*;

#[test]
fn busy_origins_are_asked_again_and_a_no_is_a_no() {
    let origin = Scripted::start(|request, asked| match request {
        0 => (head("503 Busy", "Retry-After: 0\r\nContent-Length: 0\r\n"), Then::Keep),
        1 => (head("429 Slow", "Retry-After: 0\r\nContent-Length: 0\r\n"), Then::Keep),
        2 => (vec![], Then::Close),
        _ => (part(&song(10), asked, TAG), Then::Keep),
    });
    let (_, got, stats) = download(origin.origin(), 0, None).unwrap();
    assert_eq!((got, stats.retries), ((song(10), Ok(())), 3));
    let down = Scripted::start(|_, _| (head("502 No", "Content-Length: 0\r\n"), Then::Keep));
    assert_eq!(download(down.origin(), 0, None).unwrap_err(), Error::Status(502));
    assert_eq!(down.ranges().len(), 4);
    let fields = "Retry-After: 3600\r\nContent-Length: 0\r\n";
    let full = Scripted::start(move |_, _| (head("503 Full", fields), Then::Keep));
    let after = Duration::from_secs(3600);
    let later = Error::Later { status: 503, after };
    assert_eq!(download(full.origin(), 0, None).unwrap_err(), later);
    assert_eq!(full.ranges().len(), 1, "it asked not to be asked again for an hour");
    let absent = Scripted::start(|_, _| (head("404 No", "Content-Length: 0\r\n"), Then::Keep));
    assert_eq!(download(absent.origin(), 0, None).unwrap_err(), Error::Status(404));
    assert_eq!(absent.ranges().len(), 1);
}

#[test]
fn silence_and_garbage_are_told_apart() {
    let silent = Scripted::start(|_, _| (vec![], Then::Stall));
    let after = impatient().first_byte;
    let error = download_with(impatient(), silent.origin(), 0, None).unwrap_err();
    assert_eq!(error, Error::Silent { after });
    assert_eq!(silent.ranges().len(), 2, "once more, on a new connection");
    let huge = format!("X: {}\r\n", "x".repeat(200_000));
    for (name, reply) in [
        ("garbage", b"\x16\x03\x01 hello\r\n\r\n".to_vec()),
        ("a head without end", head("200 OK", &huge)),
        ("two lengths", head("200 OK", "Content-Length: 1\r\nContent-Length: 2\r\n")),
        ("compressed", head("200 OK", "Content-Encoding: gzip\r\nContent-Length: 0\r\n")),
    ] {
        let origin = Scripted::start(move |_, _| (reply.clone(), Then::Close));
        let error = download(origin.origin(), 0, None).unwrap_err();
        assert!(matches!(error, Error::Malformed(_) | Error::Encoded), "{name}: {error:?}");
        assert_eq!(origin.ranges().len(), 1, "{name} is not asked for twice");
    }
}

#[test]
fn nothing_listens_there() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let base = format!("http://{address}/").parse().unwrap();
    let origin = Origin::new("gone", base).unwrap().allow_literal();
    let refused = Error::Connection(io::ErrorKind::ConnectionRefused);
    assert_eq!(download(origin, 0, None).unwrap_err(), refused);
}

#[test]
fn private_addresses_see_no_connection() {
    let canary = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let mut origin = canary.origin();
    origin.allow_private.clear();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let refused = Error::Refused { address: loopback, origin: "test".into() };
    assert_eq!(download(origin.clone(), 0, None).unwrap_err(), refused);

    let port = canary.address.port();
    let name: Url = format!("http://rebound.example:{port}/").parse().unwrap();
    let by_name = on_shard(move || {
        let origin = Origin::new("name", name.clone()).unwrap();
        async move {
            let table = Table::default();
            table.set("rebound.example", &["::ffff:127.0.0.1".parse().unwrap(), loopback]);
            let client = Client::new(quick(), &Roots::only([]).unwrap(), Resolver::Table(table));
            client.get(&origin, &origin.url("x").unwrap(), &Ask::default()).await.map(|_| ())
        }
    });
    assert!(matches!(by_name, Err(Error::Refused { .. })), "{by_name:?}");
    assert_eq!(canary.connections(), 0);
}

#[test]
fn a_redirect_to_a_private_address_is_not_followed() {
    let canary = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let port = canary.address.port();
    let origin = Scripted::start(move |_, _| {
        let to = format!("Location: http://127.0.0.2:{port}/\r\nContent-Length: 0\r\n");
        (head("302 Found", &to), Then::Keep)
    });
    let address = "127.0.0.2".parse().unwrap();
    let refused = Error::Refused { address, origin: "test".into() };
    assert_eq!(download(origin.origin(), 0, None).unwrap_err(), refused);
    assert_eq!(canary.connections(), 0);
}

#[test]
fn redirects_are_followed_with_the_range_but_without_secrets_for_others() {
    let other = Scripted::start(|_, asked| (part(&song(1_000), asked, TAG), Then::Keep));
    let target = other.address;
    let first = Scripted::start(move |request, _| {
        let to = match request {
            0 => "Location: /moved\r\nContent-Length: 0\r\n".to_owned(),
            _ => format!("Location: http://{target}/there\r\nContent-Length: 0\r\n"),
        };
        (head("307 Elsewhere", &to), Then::Keep)
    });
    let mut origin = first.origin();
    let secret = HeaderValue::from_static("Bearer secret");
    origin.headers.push((HeaderName::from_static("authorization"), secret));
    let (head, got, _) = download(origin, 10, None).unwrap();
    assert_eq!(head.url.as_str(), format!("http://{target}/there"));
    assert_eq!(got, (song(1_000)[10..].to_vec(), Ok(())));
    let home = first.asked();
    assert_eq!((home[0].path.as_str(), home[1].path.as_str()), ("/song", "/moved"));
    assert!(home.iter().all(|asked| asked.field("authorization") == "Bearer secret"));
    let abroad = other.asked();
    assert_eq!(abroad[0].field("authorization"), "");
    assert_eq!(abroad[0].field("range"), "bytes=10-");
    assert_eq!(first.connections(), 1, "a redirect's connection is used again");
}

#[test]
fn redirect_loops_end() {
    let origin = Scripted::start(|_, _| {
        (head("301 Moved", "Location: /song\r\nContent-Length: 0\r\n"), Then::Keep)
    });
    let error = download(origin.origin(), 0, None).unwrap_err();
    assert_eq!(error, Error::Redirect(BadRedirect::Loop));
}

#[test]
fn the_systems_resolver_knows_this_machine_and_not_what_does_not_exist() {
    let origin = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let port = origin.address.port();
    let (local, absent) = on_shard(move || async move {
        let client = Client::new(quick(), &Roots::only([]).unwrap(), Resolver::system());
        let ask = async |host: &str| {
            let base = format!("http://{host}:{port}/").parse().unwrap();
            let origin = Origin::new("named", base).unwrap().allow_literal();
            client.get(&origin, &origin.url("song").unwrap(), &whole()).await.map(|_| ())
        };
        (ask("localhost").await, ask("does-not-exist.invalid").await)
    });
    assert_eq!((local, absent), (Ok(()), Err(Error::Dns)));
}
