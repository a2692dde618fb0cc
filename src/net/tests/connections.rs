//! Connections: used again, lent to nobody else, counted and closed.

use super::*;

/// Asks for the same file `times` times, one after another.
fn ask_often(origin: Origin, options: Options, times: usize) -> Stats {
    on_shard(move || {
        let (origin, options) = (origin.clone(), options.clone());
        async move {
            let client = client(options);
            let url = origin.url("song").unwrap();
            for _ in 0..times {
                let mut response = client.get(&origin, &url, &whole()).await.unwrap();
                while response.body.chunk().await.unwrap().is_some() {}
            }
            client.stats()
        }
    })
}

#[test]
fn connections_are_used_again_unless_pooling_is_off() {
    let script = |_: usize, asked: &Asked| (part(&song(100_000), asked, TAG), Then::Keep);
    let pooled = Scripted::start(script);
    let stats = ask_often(pooled.origin(), quick(), 5);
    assert_eq!((pooled.connections(), stats.reused), (1, 4));
    let single = Scripted::start(script);
    let stats = ask_often(single.origin(), Options { idle_connections: 0, ..quick() }, 5);
    assert_eq!((single.connections(), stats.reused), (5, 0));
}

#[test]
fn a_connection_that_the_server_closed_while_idle_is_no_failure() {
    let origin = Scripted::start(|_, asked| (part(&song(100), asked, TAG), Then::Close));
    let stats = ask_often(origin.origin(), quick(), 4);
    assert_eq!((origin.connections(), stats.retries), (4, 0));
}

#[test]
fn a_connection_allowed_to_one_origin_is_not_lent_to_another() {
    let server = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let source = server.origin();
    let (trusted, other) = on_shard(move || {
        let trusted = source.clone();
        async move {
            let client = client(quick());
            let other = Origin { allow_private: vec![], ..trusted.clone() };
            let url = trusted.url("song").unwrap();
            let mut body = client.get(&trusted, &url, &whole()).await.unwrap().body;
            while body.chunk().await.unwrap().is_some() {}
            let second = client.get(&other, &url, &whole()).await;
            (client.get(&trusted, &url, &whole()).await.map(|_| ()), second.map(|_| ()))
        }
    });
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let refused = Error::Refused { address, origin: "test".into() };
    assert_eq!((trusted, other), (Ok(()), Err(refused)));
    assert_eq!((server.connections(), server.ranges().len()), (1, 2));
}

#[test]
fn idle_connections_are_closed_after_their_time() {
    let server = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let source = server.origin();
    let options = Options { idle: Duration::from_millis(100), ..quick() };
    let stats = on_shard(move || {
        let (origin, options) = (source.clone(), options.clone());
        async move {
            let client = client(options);
            let url = origin.url("song").unwrap();
            for _ in 0..2 {
                let mut response = client.get(&origin, &url, &whole()).await.unwrap();
                while response.body.chunk().await.unwrap().is_some() {}
                // Three times what the sweeper needs at most.
                runtime::sleep(Duration::from_millis(450)).await;
            }
            client.stats()
        }
    });
    assert_eq!((server.connections(), stats.reused), (2, 0));
}

#[test]
fn an_unfinished_body_closes_its_connection_when_dropped() {
    let origin = Scripted::start(|_, asked| (part(&song(4_000_000), asked, TAG), Then::Keep));
    let source = origin.origin();
    let stats = on_shard(move || {
        let origin = source.clone();
        async move {
            let client = client(quick());
            let url = origin.url("song").unwrap();
            for _ in 0..3 {
                let mut response = client.get(&origin, &url, &whole()).await.unwrap();
                response.body.chunk().await.unwrap();
            }
            client.stats()
        }
    });
    assert_eq!((origin.connections(), stats.reused), (3, 0));
}

#[test]
fn connections_with_one_server_are_bounded_and_the_next_waits() {
    let origin = Scripted::start(|_, asked| (part(&song(4_000_000), asked, TAG), Then::Keep));
    let source = origin.origin();
    let options = Options { connections: 2, ..impatient() };
    let (busy, after) = on_shard(move || {
        let (origin, options) = (source.clone(), options.clone());
        async move {
            let client = client(options);
            let url = origin.url("song").unwrap();
            let first = client.get(&origin, &url, &whole()).await.unwrap();
            let _second = client.get(&origin, &url, &whole()).await.unwrap();
            let busy = client.get(&origin, &url, &whole()).await.map(|_| ());
            drop(first);
            (busy, client.get(&origin, &url, &whole()).await.map(|_| ()))
        }
    });
    assert_eq!((busy, after), (Err(Error::Busy), Ok(())));
}

#[test]
fn a_closed_client_starts_nothing() {
    let origin = Scripted::start(|_, asked| (part(&song(10), asked, TAG), Then::Keep));
    let source = origin.origin();
    let result = on_shard(move || {
        let origin = source.clone();
        async move {
            let client = client(quick());
            client.close();
            client.get(&origin, &origin.url("song").unwrap(), &whole()).await.map(|_| ())
        }
    });
    assert_eq!((result, origin.connections()), (Err(Error::Closed), 0));
}
