//! Requests with any method: sent once, answered whole, bounded.

use super::*;

fn called(
    origin: Origin,
    method: http::Method,
    body: Option<&'static str>,
) -> Result<Called, Error> {
    on_shard(move || {
        let (origin, client, method) = (origin.clone(), client(quick()), method.clone());
        async move {
            let url = origin.url("v1/x?a=1")?;
            client.call(&origin, method, &url, body.map(Into::into), 1_000).await
        }
    })
}

#[test]
fn a_call_gets_whatever_status_with_its_whole_body() {
    let answer = |_: usize, _: &Asked| {
        ([head("409 Conflict", "Content-Length: 3\r\n"), b"no!".to_vec()].concat(), Then::Close)
    };
    let node = Scripted::start(answer);
    let got = called(node.origin(), http::Method::POST, Some("{}")).unwrap();
    assert_eq!((got.status.as_u16(), &got.body[..]), (409, &b"no!"[..]));
    let asked = &node.asked()[0];
    assert_eq!(asked.path, "/v1/x?a=1");
    let fields = (asked.field("content-length"), asked.field("content-type"));
    assert_eq!(fields, ("2", "application/json"));
    called(node.origin(), http::Method::PUT, None).unwrap();
    assert_eq!(node.asked()[0].field("content-length"), "0");
    called(node.origin(), http::Method::GET, None).unwrap();
    assert_eq!(node.asked()[0].field("content-length"), "");
}

#[test]
fn a_call_is_not_sent_twice_and_not_without_bound() {
    let node = Scripted::start(|_, _| (Vec::new(), Then::Close));
    assert!(matches!(called(node.origin(), http::Method::DELETE, None), Err(Error::Connection(_))));
    assert_eq!(node.asked().len(), 1);
    let endless = |_: usize, _: &Asked| {
        ([head("200 OK", "Content-Length: 1001\r\n"), vec![b'x'; 1001]].concat(), Then::Keep)
    };
    let node = Scripted::start(endless);
    assert!(matches!(called(node.origin(), http::Method::GET, None), Err(Error::Malformed(_))));
}
