//! Webhooks from the server: what is true ends the waiting, what is forged, repeated or lost changes nothing.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use skycron::{
    ids::WorkflowId,
    sandbox::{Behaviour, SandboxOptions, SandboxWorkflow},
};

use crate::{
    books,
    rig::{Daemon, QUICK, Rig, wait_for},
};

/// So seldom does the daemon look by itself that only a hint can be why it did.
const PATIENT: &str = "poll_interval = \"10m\"\npoll_interval_max = \"10m\"\n";

/// What stands between the server and the daemon, as a proxy would: it passes on what comes, and remembers it.
#[derive(Clone)]
struct Between {
    address: SocketAddr,
    to: Arc<Mutex<Option<SocketAddr>>>,
    closed: Arc<AtomicBool>,
    passed: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Between {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let between = Self {
            address: listener.local_addr().unwrap(),
            to: Arc::default(),
            closed: Arc::default(),
            passed: Arc::default(),
        };
        let taking = between.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taking = taking.clone();
                thread::spawn(move || taking.pass_on(stream));
            }
        });
        between
    }

    fn pass_on(&self, mut from: TcpStream) -> Option<()> {
        let request = read_request(&mut from)?;
        if self.closed.load(Ordering::SeqCst) {
            return from.write_all(b"HTTP/1.1 502 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok();
        }
        let answer = self.send(&request);
        self.passed.lock().unwrap().push(request);
        from.write_all(&answer).ok()
    }

    /// Sends a request to the daemon: the answer.
    fn send(&self, request: &[u8]) -> Vec<u8> {
        let to = wait_for("the daemon's door", 20, || *self.to.lock().unwrap());
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// Where the daemon listens, by its log.
    fn find_door(&self, rig: &Rig) {
        let address = wait_for("the door in the log", 20, || {
            let log = rig.log();
            let line = log.lines().rfind(|line| line.contains("webhooks: listening"))?;
            line.rsplit("127.0.0.1:").next()?.trim_matches('"').trim().trim_end_matches('"').parse::<u16>().ok()
        });
        *self.to.lock().unwrap() = Some(([127, 0, 0, 1], address).into());
    }

    fn passed(&self) -> Vec<Vec<u8>> {
        self.passed.lock().unwrap().clone()
    }
}

/// One request, with its connection asked to end after it.
fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let end = head.len() - 2;
    head.splice(end..end, b"connection: close\r\n".iter().copied());
    head.extend(body);
    Some(head)
}

fn status(answer: &[u8]) -> u16 {
    String::from_utf8_lossy(answer).split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn rig(between: &Between, api: &str, more: &str, options: SandboxOptions) -> Rig {
    let behaviour = Behaviour { run_time: Duration::from_millis(500), ..Behaviour::default() };
    let file = format!(
        "[webhook]\npublic_url = \"http://{}/hooks\"\nlisten = \"127.0.0.1:0\"\n[[schedule]]\nid = \"a\"\n\
         workflow_id = \"wpid_a\"\ncron_expression = \"0 0 1 1 *\"\noverlap = \"allow\"\n{more}\n",
        between.address
    );
    Rig::with(SandboxOptions { behaviour, ..options }, None, api, &file)
}

/// Starts a run, and waits until the daemon knows its end.
fn run_to_its_end(rig: &Rig, daemon: &mut Daemon) -> String {
    let key = rig.trigger_when_up("a", daemon).unwrap();
    wait_for(&format!("the end\n{}", rig.log_end()), 30, || completed(rig, &key).then_some(()));
    key
}

fn completed(rig: &Rig, key: &str) -> bool {
    books::rows(rig).iter().any(|row| row.key == key && row.status == "completed")
}

#[test]
fn a_webhook_ends_the_waiting_and_nothing_else_does() {
    let between = Between::start();
    let rig = rig(&between, PATIENT, "", SandboxOptions::default());
    let mut daemon = rig.daemon(None);
    between.find_door(&rig);
    run_to_its_end(&rig, &mut daemon);
    let hooks = wait_for("the server's word", 20, || Some(rig.sandbox.hooks()).filter(|hooks| !hooks.is_empty()));
    assert!(hooks[0].taken && hooks[0].tries == 1, "{hooks:?}");
    let first = between.passed().remove(0);

    // A second run goes on: what is sent now must not end it.
    between.closed.store(true, Ordering::SeqCst);
    let key = rig.trigger_when_up("a", &mut daemon).unwrap();
    wait_for("the second webhook, lost", 20, || (rig.sandbox.hooks().len() == 2).then_some(()));
    assert!(!rig.sandbox.hooks()[1].taken);
    let text = String::from_utf8_lossy(&first).into_owned();
    let url = rig.sandbox.runs()[1].request["webhook_url"].as_str().unwrap().to_owned();
    let path = url.split_once(&between.address.to_string()).unwrap().1.to_owned();
    let old_path = text.split(' ').nth(1).unwrap().to_owned();
    let to_second = text.replacen(&old_path, &path, 1);
    let check = |request: &str, expected: u16| {
        assert_eq!(status(&between.send(request.as_bytes())), expected, "{request:.200}");
        assert!(!completed(&rig, &key), "nothing follows: {request:.200}");
    };
    // A repetition of one that is over.
    check(&text, 204);
    // Forged: a byte of the body, no signature, another's, no time, another day, made-up addresses, another method.
    check(&to_second.replace("\"completed\"", "\"compleTed\""), 401);
    check(&to_second.replace("x-skyvern-signature", "x-other"), 401);
    check(&to_second.replacen("x-skyvern-signature: ", "x-skyvern-signature: 00", 1), 401);
    check(&to_second.replace("x-skyvern-timestamp", "x-other"), 400);
    check(&to_second.replacen("x-skyvern-timestamp: 1", "x-skyvern-timestamp: 0", 1), 400);
    check(&text.replacen(&old_path, &path.replace("/t/a/", "/t/b/"), 1), 404);
    check(&text.replacen(&old_path, "/", 1), 404);
    check(&to_second.replacen("POST", "PUT", 1), 405);
    // One that is true, whatever it says, leads to a look.
    assert_eq!(status(&between.send(to_second.as_bytes())), 204);
    wait_for(&format!("the second end\n{}", rig.log_end()), 20, || completed(&rig, &key).then_some(()));
    daemon.stop(&rig);
    let mark = path.rsplit('/').next().unwrap();
    assert!(!rig.log().contains(mark), "an address is not for the log");
}

#[test]
fn the_address_of_a_run_outlives_the_process() {
    let between = Between::start();
    between.closed.store(true, Ordering::SeqCst);
    let rig = rig(&between, PATIENT, "", SandboxOptions::default());
    let mut daemon = rig.daemon(None);
    let key = rig.trigger_when_up("a", &mut daemon).unwrap();
    wait_for("a run", 20, || books::rows(&rig).iter().any(|row| row.key == key && row.run_id.is_some()).then_some(()));
    assert!(daemon.kill());
    wait_for("the webhook, lost", 20, || (!rig.sandbox.hooks().is_empty()).then_some(()));
    let mut daemon = rig.daemon(None);
    wait_for("the second door", 20, || (rig.log().matches("webhooks: listening").count() == 2).then_some(()));
    between.find_door(&rig);
    between.closed.store(false, Ordering::SeqCst);
    // The server's word was lost with the first daemon, or comes now: another run's shows that the door is open.
    run_to_its_end(&rig, &mut daemon);
    let own = between.passed().remove(0);
    let url = rig.sandbox.runs()[0].request["webhook_url"].as_str().unwrap().to_owned();
    let path = url.split_once(&between.address.to_string()).unwrap().1.to_owned();
    let text = String::from_utf8(own).unwrap();
    let old_path = text.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(status(&between.send(text.replacen(&old_path, &path, 1).as_bytes())), 204);
    wait_for(&format!("the first end\n{}", rig.log_end()), 20, || completed(&rig, &key).then_some(()));
    daemon.stop(&rig);
}

#[test]
fn a_webhook_that_never_comes_is_not_waited_for() {
    let between = Between::start();
    between.closed.store(true, Ordering::SeqCst);
    let rig = rig(&between, QUICK, "", SandboxOptions::default());
    let mut daemon = rig.daemon(None);
    run_to_its_end(&rig, &mut daemon);
    daemon.stop(&rig);
}

#[test]
fn a_server_that_takes_no_such_address_runs_without_it() {
    let between = Between::start();
    let options = SandboxOptions { local_webhooks_refused: true, ..SandboxOptions::default() };
    let rig = rig(&between, QUICK, "", options);
    let mut daemon = rig.daemon(None);
    run_to_its_end(&rig, &mut daemon);
    run_to_its_end(&rig, &mut daemon);
    assert_eq!(rig.sandbox.runs().len(), 2, "one run each");
    assert!(rig.sandbox.runs().iter().all(|run| !run.request.contains_key("webhook_url")));
    assert_eq!(rig.log().matches("takes no webhooks").count(), 1, "said once:\n{}", rig.log());
    daemon.stop(&rig);
}

#[test]
fn a_webhook_of_the_file_or_of_the_workflow_stays() {
    let between = Between::start();
    let other = "http://127.0.0.1:9/other";
    let check = |more: &str, own: Option<&str>, expected: Option<&str>| {
        let mut workflow = SandboxWorkflow::new(WorkflowId::new("wpid_a").unwrap());
        workflow.webhook_callback_url = own.map(str::to_owned);
        let options = SandboxOptions { workflows: vec![workflow], ..SandboxOptions::default() };
        let rig = rig(&between, QUICK, more, options);
        let mut daemon = rig.daemon(None);
        run_to_its_end(&rig, &mut daemon);
        let run = rig.sandbox.runs().remove(0);
        assert_eq!(run.request.get("webhook_url").and_then(|url| url.as_str()), expected);
        daemon.stop(&rig);
    };
    check(&format!("webhook_url = {other:?}"), None, Some(other));
    check("", Some(other), None);
}
