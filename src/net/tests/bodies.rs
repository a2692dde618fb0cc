//! Bodies that are cut, changed or in parts: no byte is lost, and none of two versions are joined.

use super::*;

#[test]
fn the_first_question_learns_length_and_validator() {
    let origin = Scripted::start(|_, asked| (part(&song(100_000), asked, TAG), Then::Keep));
    let (head, got, _) = download(origin.origin(), 0, None).unwrap();
    assert_eq!((head.status, head.length), (206, Some(100_000)));
    assert_eq!(head.validator, Some(Validator::StrongEtag(HeaderValue::from_static("\"v1\""))));
    assert_eq!(got, (song(100_000), Ok(())));
    let asked = origin.asked();
    assert_eq!(asked[0].field("range"), "bytes=0-");
    assert_eq!(asked[0].field("accept-encoding"), "identity");
    assert_eq!(asked[0].field("host"), origin.address.to_string());
    assert_eq!(asked.len(), 1);
}

#[test]
fn a_cut_body_goes_on_where_it_stopped() {
    for then in [Then::Close, Then::Reset, Then::Stall] {
        let origin = Scripted::start(move |request, asked| match request {
            0 => (cut(&song(300_000), asked, TAG, 100_000), then),
            1 => (cut(&song(300_000), asked, TAG, 0), then),
            2 => (cut(&song(300_000), asked, TAG, 199_999), then),
            _ => (part(&song(300_000), asked, TAG), Then::Keep),
        });
        let (_, got, _) = download_with(impatient(), origin.origin(), 0, None).unwrap();
        assert_eq!(got.1, Ok(()));
        assert!(got.0 == song(300_000), "the bytes are the song's");
        let asked = origin.asked();
        let ranges: Vec<_> = asked.iter().map(|asked| asked.field("range")).collect();
        assert_eq!(ranges, ["bytes=0-", "bytes=100000-", "bytes=100000-", "bytes=299999-"]);
        assert_eq!(asked[0].field("if-range"), "");
        assert_eq!(asked[1].field("if-range"), "\"v1\"");
    }
}

#[test]
fn every_position_of_a_cut_heals() {
    let origin = Scripted::start(|_, asked| {
        // At most 700 bytes per connection, so that 32 KiB take 47 of them.
        let left = 32_768 - asked.range().0;
        (cut(&song(32_768), asked, TAG, left.min(700)), Then::Close)
    });
    let options = Options { retries: 100, ..quick() };
    let source = origin.origin();
    let got = on_shard(move || {
        let (origin, options) = (Rc::new(source.clone()), options.clone());
        async move {
            let url = origin.url("song").unwrap();
            let place = place(client(options), origin, url);
            let started = Download::start(place, (0, None), Known::default());
            drain(&mut started.await.unwrap().1).await
        }
    });
    assert_eq!(got, (song(32_768), Ok(())));
    assert_eq!(origin.connections(), 47);
}

#[test]
fn a_body_without_progress_is_given_up_after_the_retries() {
    let origin = Scripted::start(|request, asked| match request {
        0 => (cut(&song(9_000), asked, TAG, 1_000), Then::Close),
        _ => (cut(&song(9_000), asked, TAG, 0), Then::Close),
    });
    let (_, got, stats) = download(origin.origin(), 0, None).unwrap();
    assert_eq!(got, (song(1_000), Err(Error::Cut { at: 1_000 })));
    assert_eq!((origin.ranges().len(), stats.retries), (4, 3));
}

#[test]
fn a_cut_body_without_a_strong_validator_stays_cut() {
    for fields in ["", "ETag: W/\"v1\"\r\n", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"] {
        let origin =
            Scripted::start(move |_, asked| (cut(&song(9_000), asked, fields, 4_000), Then::Close));
        let (_, got, _) = download(origin.origin(), 0, None).unwrap();
        assert_eq!(got, (song(4_000), Err(Error::Cut { at: 4_000 })), "{fields}");
        assert_eq!(origin.ranges().len(), 1);
    }
}

#[test]
fn a_settled_modification_time_is_enough_to_go_on() {
    let fields = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                  Date: Sun, 06 Nov 1994 09:49:37 GMT\r\n";
    let origin = Scripted::start(move |request, asked| match request {
        0 => (cut(&song(9_000), asked, fields, 4_000), Then::Close),
        _ => (part(&song(9_000), asked, ""), Then::Keep),
    });
    let (_, got, _) = download(origin.origin(), 0, None).unwrap();
    assert_eq!(got, (song(9_000), Ok(())));
    assert_eq!(origin.asked()[1].field("if-range"), "Sun, 06 Nov 1994 08:49:37 GMT");
}

#[test]
fn bytes_of_two_versions_are_never_joined() {
    type Second = fn(&Asked) -> Vec<u8>;
    let seconds: [(&str, Second, Error); 6] = [
        ("another tag in the part", |a| part(&song(9_000), a, "ETag: \"v2\"\r\n"), Error::Changed),
        ("another length", |a| part(&song(9_001), a, TAG), Error::Changed),
        (
            "the whole of another version",
            |_| [head("200 OK", "ETag: \"v2\"\r\nContent-Length: 9000\r\n"), song(9_000)].concat(),
            Error::Changed,
        ),
        (
            "the whole of no version",
            |_| [head("200 OK", "Content-Length: 9000\r\n"), song(9_000)].concat(),
            Error::Changed,
        ),
        (
            "another range",
            |_| {
                let fields = "Content-Range: bytes 0-8999/9000\r\nContent-Length: 9000\r\n";
                [head("206 Partial Content", fields), song(9_000)].concat()
            },
            Error::Malformed("another range than asked for"),
        ),
        (
            "nothing there any more",
            |_| head("416 No", "Content-Range: bytes */10\r\nContent-Length: 0\r\n"),
            Error::Changed,
        ),
    ];
    for (what, second, error) in seconds {
        let origin = Scripted::start(move |request, asked| match request {
            0 => (cut(&song(9_000), asked, TAG, 4_000), Then::Close),
            _ => (second(asked), Then::Keep),
        });
        let (_, got, _) = download(origin.origin(), 0, None).unwrap();
        assert_eq!(got, (song(4_000), Err(error)), "{what}");
    }
}

#[test]
fn an_origin_that_forgets_ranges_is_read_again_from_the_start() {
    let origin = Scripted::start(|request, asked| match request {
        0 => (cut(&song(50_000), asked, TAG, 30_000), Then::Close),
        _ => {
            let fields = format!("{TAG}Content-Length: 50000\r\n");
            ([head("200 OK", &fields), song(50_000)].concat(), Then::Keep)
        }
    });
    let (_, got, _) = download(origin.origin(), 0, None).unwrap();
    assert_eq!(got, (song(50_000), Ok(())));
}

#[test]
fn an_origin_without_ranges_is_no_error_and_says_where_it_begins() {
    let origin = Scripted::start(|_, _| {
        ([head("200 OK", "Content-Length: 5000\r\n"), song(5_000)].concat(), Then::Keep)
    });
    let (head, got, _) = download(origin.origin(), 1_000, Some(2_000)).unwrap();
    assert_eq!((head.status, head.range, head.length), (200, None, Some(5_000)));
    assert_eq!(got, (song(5_000), Ok(())));
}

#[test]
fn a_range_is_asked_for_and_an_origin_may_give_it_in_parts() {
    let origin = Scripted::start(|_, asked| {
        let (from, until) = asked.range();
        let until = until.unwrap().min(from + 1_000);
        let (length, last) = (until - from, until - 1);
        let fields =
            format!("Content-Range: bytes {from}-{last}/9000\r\nContent-Length: {length}\r\n{TAG}");
        let body = song(9_000)[from..until].to_vec();
        ([head("206 Partial Content", &fields), body].concat(), Then::Keep)
    });
    let (_, got, stats) = download(origin.origin(), 500, Some(3_000)).unwrap();
    assert_eq!(got, (song(9_000)[500..3_000].to_vec(), Ok(())));
    assert_eq!(origin.ranges(), ["bytes=500-2999", "bytes=1500-2999", "bytes=2500-2999"]);
    assert_eq!((stats.connections, stats.reused), (1, 2));
}

#[test]
fn an_empty_file_is_empty_and_not_an_error() {
    let origin = Scripted::start(|_, _| {
        let fields = "Content-Range: bytes */0\r\nContent-Length: 0\r\n";
        (head("416 Range Not Satisfiable", fields), Then::Keep)
    });
    let (head, got, _) = download(origin.origin(), 0, None).unwrap();
    assert_eq!(head.length, Some(0));
    assert_eq!(got, (vec![], Ok(())));
}

#[test]
fn an_origin_that_refuses_ranges_is_asked_for_the_whole() {
    for status in ["400", "403", "405", "406", "416", "500", "501"] {
        let origin = Scripted::start(move |_, asked| match asked.field("range") {
            "" => ([head("200 OK", "Content-Length: 300\r\n"), song(300)].concat(), Then::Keep),
            _ => (head(&format!("{status} No"), "Content-Length: 0\r\n"), Then::Keep),
        });
        for from in [0, 100] {
            let (head, got, stats) = download(origin.origin(), from, None).unwrap();
            assert_eq!((head.status, head.range, got), (200, None, (song(300), Ok(()))));
            assert_eq!((stats.requests, stats.retries), (2, 0), "{status}");
        }
    }
}

#[test]
fn a_refusal_that_is_not_of_the_range_is_the_answer() {
    for (status, requests) in [("403", 2), ("500", 2 + 3), ("404", 1), ("401", 1), ("503", 1 + 3)] {
        let origin = Scripted::start(move |_, _| {
            (head(&format!("{status} No"), "Content-Length: 0\r\n"), Then::Keep)
        });
        let error = download(origin.origin(), 0, None).unwrap_err();
        assert_eq!(error, Error::Status(status.parse().unwrap()));
        assert_eq!(origin.ranges().len(), requests, "{status}");
    }
}

/// It need not be refused each time a body is continued or a client jumps.
#[test]
fn an_origin_that_refused_a_range_is_not_asked_for_one_of_that_again() {
    let origin = Scripted::start(|index, asked| match (index, asked.field("range")) {
        (1, "") => {
            let head = head("200 OK", &format!("Content-Length: 9000\r\n{TAG}"));
            ([head, song(1_000)].concat(), Then::Close)
        }
        (_, "") => {
            let head = head("200 OK", &format!("Content-Length: 9000\r\n{TAG}"));
            ([head, song(9_000)].concat(), Then::Keep)
        }
        _ => (head("403 No", "Content-Length: 0\r\n"), Then::Keep),
    });
    let (_, got, _) = download(origin.origin(), 0, None).unwrap();
    assert_eq!(got, (song(9_000), Ok(())));
    assert_eq!(origin.ranges(), ["bytes=0-", "", ""]);
}

#[test]
fn chunks_without_their_end_are_a_cut_and_with_it_are_whole() {
    let chunked = |end: &'static str| {
        let origin = Scripted::start(move |_, _| {
            let body = [b"1388\r\n".to_vec(), song(5_000), end.into()].concat();
            ([head("200 OK", "Transfer-Encoding: chunked\r\n"), body].concat(), Then::Close)
        });
        download(origin.origin(), 0, None).unwrap()
    };
    let (head, got, _) = chunked("\r\n0\r\n\r\n");
    assert_eq!((head.length, got), (None, (song(5_000), Ok(()))));
    for end in ["", "\r\n", "\r\n0\r\n", "\r\nzz\r\n"] {
        assert_eq!(chunked(end).1, (song(5_000), Err(Error::Cut { at: 5_000 })), "{end:?}");
    }
}

#[test]
fn what_comes_beyond_the_length_is_not_taken() {
    let origin = Scripted::start(|_, asked| {
        (([part(&song(3_000), asked, TAG), vec![0; 5_000]]).concat(), Then::Keep)
    });
    assert_eq!(download(origin.origin(), 0, None).unwrap().1, (song(3_000), Ok(())));
    let chunked = Scripted::start(|_, _| {
        let fields = "Content-Range: bytes 0-2999/3000\r\nTransfer-Encoding: chunked\r\n";
        let body = [b"1388\r\n".to_vec(), song(5_000), b"\r\n0\r\n\r\n".to_vec()].concat();
        ([head("206 Partial Content", fields), body].concat(), Then::Keep)
    });
    assert_eq!(download(chunked.origin(), 0, None).unwrap().1, (song(3_000), Ok(())));
}

#[test]
fn a_cut_body_never_ends_cleanly_however_often_it_is_asked() {
    let server = Scripted::start(|_, asked| (cut(&song(9_000), asked, TAG, 10), Then::Close));
    let source = server.origin();
    let results = on_shard(move || {
        let origin = source.clone();
        async move {
            let url = origin.url("song").unwrap();
            let response = client(quick()).get(&origin, &url, &whole()).await.unwrap();
            let mut body = response.body;
            assert_eq!(body.chunk().await.unwrap().unwrap(), song(10));
            [body.chunk().await, body.chunk().await, body.chunk().await]
        }
    });
    for result in results {
        assert_eq!(result, Err(Error::Cut { at: 10 }));
    }
}
