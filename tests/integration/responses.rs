//! Responses that browsers accept and strict clients refuse, and the recorded error for unreadable ones.

use activities::http::Http;
use protocols::http::{Method, REPLY_BYTES, Reply, Request, Rules};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use storage::AttemptClass;

/// Returns the reply to a request at a server that answers with this head and closes.
async fn reply(head: &str) -> Reply {
    drop(rustls::crypto::ring::default_provider().install_default());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/hook",
        listener.local_addr().expect("its address")
    );
    let head = head.to_owned();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let (mut bytes, mut byte) = (Vec::new(), [0]);
        while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
            bytes.extend(byte);
        }
        // The client stops reading a head that is too large, so that writing may fail.
        let _ = stream.write_all(head.as_bytes());
    });
    let request = Request {
        method: Method::Post,
        url: url.parse().expect("a URL"),
        headers: Vec::new(),
        body: Vec::new(),
        app: None,
        max_reply_bytes: REPLY_BYTES,
        is_operator_url: false,
    };
    let reply = Http::new(Rules::open()).send(request).await;
    server.join().expect("the server");
    reply
}

#[tokio::test]
async fn a_response_with_odd_fields_is_read_as_browsers_read_it() {
    let many: String = (0..990)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    for fields in [
        many.as_str(),
        "set-cookie : a=b\r\n",
        "x-folded: one\r\n two\r\n",
        "set-cookie: a=\u{1}b\r\n",
        "x y: z\r\n",
        "no colon\r\n",
        "x-name: Žofie\r\n",
    ] {
        let reply = reply(&format!(
            "HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n"
        ))
        .await;
        assert!(
            matches!(&reply, Reply::Answer { status: 200, .. }),
            "{fields:?}: {reply:?}"
        );
    }
}

#[tokio::test]
async fn a_response_that_cannot_be_read_names_the_rule() {
    let many: String = (0..1100)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    let long = format!("x-long: {}\r\n", "y".repeat(2_000_000));
    for (head, part) in [
        (
            format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
            "more than 1000 fields",
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{long}\r\n"),
            "more than 1000 fields or 400 KiB",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n".to_owned(),
            "Content-Length",
        ),
        (
            "HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "first line",
        ),
        (
            "220 mail.example.com ESMTP\r\n\r\n".to_owned(),
            "first line",
        ),
    ] {
        match reply(&head).await {
            Reply::Failure {
                class: AttemptClass::Unreadable,
                message,
            } => {
                assert!(
                    message.starts_with("a response came") && message.contains(part),
                    "{message}"
                );
            }
            other => panic!("{part}: {other:?}"),
        }
    }
    let closed = reply("").await;
    assert!(
        matches!(
            &closed,
            Reply::Failure {
                class: AttemptClass::Reset,
                ..
            }
        ),
        "{closed:?}"
    );
}
