//! A server in separate threads that records its requests and gives all of them the same response.

use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Log {
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

/// A server that listens until the test ends.
pub struct Server {
    address: SocketAddr,
    log: Arc<Log>,
}

impl Server {
    /// Starts a server that sends these bytes in response to each request; with no bytes, the client keeps waiting.
    pub fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::start(move |stream, log| talk(stream, &answer, log))
    }

    /// Starts a server that reads a request and closes the connection.
    pub fn closing() -> Self {
        Self::start(|mut stream, _| drop(read_request(&mut stream)))
    }

    /// Starts a server that sends a greeting before it reads anything, which no HTTP server does.
    pub fn speaking_first(greeting: &str) -> Self {
        let greeting = greeting.to_owned();
        Self::start(move |mut stream, _| {
            let _ = stream.write_all(greeting.as_bytes());
            let _ = stream.read(&mut [0]);
        })
    }

    /// Starts a server that responds with 200 over TLS, using this certificate.
    pub fn with_tls(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Self {
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        Self::start(move |stream, log| {
            let stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            talk(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", log);
        })
    }

    pub fn at(address: SocketAddr) -> Self {
        let serve =
            |stream, log: &Log| talk(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", log);
        Self::listening(TcpListener::bind(address).unwrap(), serve)
    }

    fn start(serve: impl Fn(TcpStream, &Log) + Send + Sync + 'static) -> Self {
        Self::listening(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    fn listening(
        listener: TcpListener,
        serve: impl Fn(TcpStream, &Log) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let (recorded, serve) = (log.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                recorded.connections.fetch_add(1, Ordering::SeqCst);
                let (recorded, serve) = (recorded.clone(), serve.clone());
                std::thread::spawn(move || serve(stream, &recorded));
            }
        });
        Self { address, log }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<String> {
        self.log.requests.lock().unwrap().clone()
    }
}

fn talk(mut stream: impl Read + Write, answer: &str, log: &Log) {
    while let Some(request) = read_request(&mut stream) {
        log.requests.lock().unwrap().push(request);
        if stream
            .write_all(answer.as_bytes())
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}

/// Reads one request with its body; `None` if the client has gone.
fn read_request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
        if bytes.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(bytes).ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap_or("0")
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).ok()?)
}

/// Returns a self-signed certificate for one name, and its key.
pub fn certificate(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (
        cert.der().clone(),
        PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
    )
}
