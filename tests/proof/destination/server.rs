//! A server that reads lines, and gives the answers that a test scripts.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The received lines and the scripted answers.
#[derive(Default)]
struct State {
    lines: Vec<String>,
    answers: VecDeque<String>,
}

pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(stream, &shared).await;
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> String {
        format!("line://{}", self.address)
    }

    /// Sets the answer to the next line, in place of `200 taken`.
    pub fn answer_next(&self, answer: &str) {
        let mut state = self.state.lock().expect("no panic");
        state.answers.push_back(answer.to_owned());
    }

    /// Returns all received lines.
    pub fn lines(&self) -> Vec<String> {
        self.state.lock().expect("no panic").lines.clone()
    }
}

async fn answer(stream: TcpStream, state: &Mutex<State>) {
    let (mut stream, mut line) = (BufReader::new(stream), String::new());
    if stream.read_line(&mut line).await.is_ok() {
        let answer = {
            let mut state = state.lock().expect("no panic");
            state.lines.push(line);
            let answer = state.answers.pop_front();
            answer.unwrap_or_else(|| "200 taken".to_owned())
        };
        // A client that has disconnected reads no answer.
        drop(stream.write_all(format!("{answer}\n").as_bytes()).await);
    }
}
