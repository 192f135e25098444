//! A server that follows a script: for each request, in their order over all connections, what is written back, byte by byte.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

/// What happens after a request was read.
#[derive(Clone)]
pub(crate) enum Act {
    /// These bytes, and the connection stays.
    Say(Vec<u8>),
    /// These bytes, and the connection is closed.
    SayAndClose(Vec<u8>),
    /// Nothing, and the connection stays until the client gives up.
    Hang,
}

impl Act {
    /// A whole answer with a JSON body.
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::answer(status, "", body)
    }

    /// A whole answer; `headers` end with a line break each.
    pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Self {
        Self::Say(format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }
}

/// A request as it came: its first line, its header lines in lower case, its body.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

/// The server. Its threads end with their connections.
pub(crate) struct Script {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    closed: mpsc::Receiver<()>,
}

impl Script {
    /// Starts it. After the last act every request hangs.
    pub(crate) fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (tell, closed) = mpsc::channel();
        let record = Arc::clone(&asked);
        let next = Arc::new(AtomicUsize::new(0));
        let acts = Arc::new(acts);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (record, next, acts, tell) =
                    (Arc::clone(&record), Arc::clone(&next), Arc::clone(&acts), tell.clone());
                std::thread::spawn(move || {
                    serve(stream.unwrap(), &record, &next, &acts);
                    let _ = tell.send(());
                });
            }
        });
        Self { url, asked, closed }
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Whether a connection has ended since the last time.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.try_recv().is_ok()
    }
}

fn serve(stream: TcpStream, record: &Mutex<Vec<Asked>>, next: &AtomicUsize, acts: &[Act]) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(asked) = read(&mut reader) {
        record.lock().unwrap().push(asked);
        match acts.get(next.fetch_add(1, Ordering::SeqCst)) {
            Some(Act::Say(bytes)) => {
                if writer.write_all(bytes).is_err() {
                    return;
                }
            }
            Some(Act::SayAndClose(bytes)) => {
                let _ = writer.write_all(bytes);
                return;
            }
            Some(Act::Hang) | None => {}
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let headers: Vec<String> = lines[1..].iter().map(|line| line.to_lowercase()).collect();
    let length =
        headers.iter().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { line: lines[0].clone(), headers, body: String::from_utf8(body).unwrap() })
}
