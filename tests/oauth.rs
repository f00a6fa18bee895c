//! Mail accounts are signed in by OAuth2, at a real identity provider, and their tokens are kept.

mod kept;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::version::TLS13;

use crate::require;
use crate::support::adit::program;
use crate::support::certs::Certs;
use crate::support::peers::Server;
use crate::support::terminal::Terminal;
use crate::support::{is_root, tls, wait_for};

const NAME: &str = "you@own.example";
const PASSWORD: &str = "a local password";

/// The modules of Node that `tests/run` installs.
fn modules() -> PathBuf {
    let folder = std::env::var_os("NODE_MODULES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/node-modules/node_modules"),
        PathBuf::from,
    );
    std::path::absolute(folder).expect("a path")
}

fn is_installed() -> bool {
    modules().join("oidc-provider").exists()
}

/// An identity provider, ended with this value.
struct Provider {
    child: Child,
    port: u16,
}

impl Provider {
    fn start(certs: &Certs) -> Provider {
        let pair = certs.server();
        let mut child = Command::new("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth/provider.mjs"))
            .args([modules(), pair.cert, pair.key])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node");
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
        said.read_line(&mut line).expect("a port");
        // It says more of what it would do otherwise.
        std::thread::spawn(move || said.read_to_end(&mut Vec::new()));
        let port = line.trim().parse().expect("a port");
        Provider { child, port }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with a configuration, a local password, and authorities.
struct Place {
    folder: tempfile::TempDir,
    certs: Certs,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let place = Place {
            folder,
            certs: Certs::new(),
        };
        let user = if is_root() {
            "keeperUser = daemon\n"
        } else {
            ""
        };
        let keeper = place.keeper();
        place.write(
            "adit.conf",
            &format!("{user}keeperDirectory = {}\n", keeper.display()),
        );
        place.write("password", &format!("{PASSWORD}\n"));
        place
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    fn keeper(&self) -> PathBuf {
        self.folder.path().join("keeper")
    }

    fn account(&self) -> PathBuf {
        self.keeper().join(format!("{NAME}.account"))
    }

    /// `adit login`, by this configuration.
    fn login(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("login").args(arguments);
        if !arguments.contains(&"--list") && !arguments.contains(&"--forget") {
            command
                .arg("--password-file")
                .arg(self.folder.path().join("password"));
        }
        command.arg(self.folder.path().join("adit.conf"));
        command.stdin(Stdio::null());
        command
    }

    /// Signs in at this server.
    fn sign_in(&self, client: &str, urls: &[(&str, String)]) -> Command {
        let mut command = self.login(&[NAME, "--client-id", client]);
        command.args(["--scope", "openid offline_access"]);
        command.arg("--ca-file").arg(self.certs.ca());
        for (flag, url) in urls {
            command.args([*flag, url]);
        }
        command
    }

    /// What it says, and whether it succeeds.
    #[track_caller]
    fn says(&self, arguments: &[&str], succeeds: bool, phrases: &[&str]) -> String {
        said(&mut self.login(arguments), succeeds, phrases)
    }
}

#[track_caller]
fn said(command: &mut Command, succeeds: bool, phrases: &[&str]) -> String {
    let output = command.output().expect("adit");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("UTF-8");
    assert_eq!(output.status.success(), succeeds, "{said}");
    for phrase in phrases {
        assert!(said.contains(phrase), "{phrase:?} is not in:\n{said}");
    }
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

/// A command that goes on, and what it says.
struct Going {
    child: Child,
    lines: BufReader<ChildStdout>,
    said: String,
}

impl Going {
    fn start(command: &mut Command) -> Going {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("adit");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Going {
            child,
            lines,
            said: String::new(),
        }
    }

    /// The next line that begins so.
    #[track_caller]
    fn line(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).expect("text") == 0 {
                let errors = self.errors();
                panic!("{start:?} is not in:\n{}{errors}", self.said);
            }
            self.said += &line;
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
        }
    }

    fn errors(&mut self) -> String {
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        said
    }

    #[track_caller]
    fn ends(mut self, succeeds: bool, phrases: &[&str]) -> String {
        let _ = self.lines.read_to_string(&mut self.said);
        let said = self.said.clone() + &self.errors();
        let status = self.child.wait().expect("an end");
        assert_eq!(status.success(), succeeds, "{said}");
        for phrase in phrases {
            assert!(said.contains(phrase), "{phrase:?} is not in:\n{said}");
        }
        said
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn curl(arguments: &[&str], certs: &Certs) -> String {
    let output = Command::new("curl")
        .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
        .arg(certs.ca())
        .args(arguments)
        .output()
        .expect("curl");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn an_account_is_signed_in_by_a_code_and_each_token_is_replaced_on_the_disk() {
    require!(adit);
    require!(program "node");
    require!(program "curl");
    require!(
        is_installed(),
        "oidc-provider is not installed: tests/run does it"
    );
    let place = Place::new();
    let provider = Provider::start(&place.certs);
    let urls = [
        ("--token-url", provider.url("token")),
        ("--device-url", provider.url("device/auth")),
    ];
    let mut going = Going::start(&mut place.sign_in("device", &urls));
    let page = going.line("On any device, open");
    assert_eq!(page, provider.url("device"));
    let code = going.line("and type the code");
    let approved = curl(
        &[
            "-X",
            "POST",
            &provider.url(&format!("approve?user_code={code}")),
        ],
        &place.certs,
    );
    assert_eq!(approved, "204");
    // The picture, and then the end of the wait.
    going.ends(true, &["\u{2588}", "is signed in"]);

    let about = place.account().metadata().expect("the account");
    assert_eq!(about.mode() & 0o7777, 0o600);
    assert_eq!(
        about.uid(),
        place.keeper().metadata().expect("the folder").uid()
    );
    assert_ne!(about.uid(), 0, "root keeps no tokens");
    let mut last = fs::read(place.account()).expect("the account");
    // The provider takes a token once, so each of these needs the one before.
    for _ in 0..3 {
        place.says(
            &[NAME, "--try"],
            true,
            &["gives a token for you@own.example"],
        );
        let now = fs::read(place.account()).expect("the account");
        assert_ne!(now, last);
        last = now;
    }
    place.says(
        &["--list"],
        true,
        &["you@own.example  other, signed in on ", "client device"],
    );

    place.write("password", "another password\n");
    place.says(&[NAME, "--try"], false, &["not the local password"]);
    assert_eq!(fs::read(place.account()).expect("the account"), last);
    place.says(&["--forget", NAME], true, &["forgotten"]);
    place.says(&["--list"], true, &["no account"]);
    place.says(&[NAME, "--try"], false, &["not signed in"]);
}

#[test]
fn an_account_is_signed_in_by_a_browser_that_comes_back_or_by_its_last_address() {
    require!(adit);
    require!(program "node");
    require!(program "curl");
    require!(
        is_installed(),
        "oidc-provider is not installed: tests/run does it"
    );
    let place = Place::new();
    let provider = Provider::start(&place.certs);
    let urls = [
        ("--token-url", provider.url("token")),
        ("--authorize-url", provider.url("auth?prompt=consent")),
    ];
    let browser = |more: &[&str], address: &str| {
        let jar = ["-L", "-b", "", "--max-redirs", "20"];
        curl(&[&jar, more, &[address]].concat(), &place.certs)
    };
    let mut going = Going::start(&mut place.sign_in("browser", &urls));
    let address = format!("https://{}", going.line("https://"));
    // What another page sends there does not count.
    let own = address
        .split("redirect_uri=http%3A%2F%2F127.0.0.1%3A")
        .nth(1)
        .expect("a port");
    let port = own.split("%2F").next().expect("a port");
    let foreign = format!("http://127.0.0.1:{port}/?code=x&state=y");
    assert_eq!(browser(&[], &foreign), "404");
    assert_eq!(browser(&[], &address), "200");
    going.ends(true, &["is signed in"]);
    place.says(&[NAME, "--try"], true, &["gives a token"]);

    // On another machine the last page cannot be shown.
    place.says(&["--forget", NAME], true, &[]);
    let mut command = place.sign_in("browser", &urls);
    let mut going = Going::start(command.stdin(Stdio::piped()));
    let address = format!("https://{}", going.line("https://"));
    let output = Command::new("curl")
        .args(["-sS", "-o", "/dev/null", "-D", "-", "-L", "-b", ""])
        .args(["--proto-redir", "=https", "--cacert"])
        .arg(place.certs.ca())
        .arg(&address)
        .output()
        .expect("curl");
    let heads = String::from_utf8(output.stdout).expect("UTF-8");
    let mut heads = heads.lines().rev();
    let last = heads.find_map(|line| line.strip_prefix("Location: "));
    let last = last.filter(|last| last.starts_with("http://127.0.0.1:"));
    let last = last.expect("the last address");
    let mut stdin = going.child.stdin.take().expect("a pipe");
    // Both lines at once, as a terminal's paste comes.
    let text = format!("http://127.0.0.1/?code=x&state=y\n  {last}  \n");
    stdin.write_all(text.as_bytes()).expect("typing");
    going.ends(true, &["not the address of this sign-in", "is signed in"]);
    place.says(&[NAME, "--try"], true, &["gives a token"]);
}

#[test]
fn a_client_without_a_person_needs_a_local_password_too() {
    require!(adit);
    require!(program "node");
    require!(
        is_installed(),
        "oidc-provider is not installed: tests/run does it"
    );
    let place = Place::new();
    let provider = Provider::start(&place.certs);
    let secret = place.write("secret", "the-secret-of-the-robot\n");
    let urls = [("--token-url", provider.url("token"))];
    let robot = || {
        let mut command = place.sign_in("robot", &urls);
        command
            .args([
                "--flow",
                "credentials",
                "--scope",
                "",
                "--client-secret-file",
            ])
            .arg(&secret);
        command
    };
    said(&mut robot(), true, &["is signed in"]);
    let text = fs::read_to_string(place.account()).expect("the account");
    assert!(!text.contains("the-secret"), "{text}");
    place.says(&[NAME, "--try"], true, &["gives a token"]);
    place.write("secret", "another\n");
    said(
        &mut robot(),
        false,
        &["invalid_client", "nothing was changed"],
    );
    // What was there is there.
    place.says(&[NAME, "--try"], true, &["gives a token"]);
    place.write("password", "short\n");
    said(&mut robot(), false, &["shorter than 8"]);
}

/// A token server that answers by a list, each answer once, the last again and again.
struct Double {
    server: Server,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Double {
    fn start(certs: &Certs, answers: &'static [&'static str]) -> Double {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let config = tls::server_config(&certs.server(), &[&TLS13], None);
        let server = tls::server(config, move |mut stream| {
            let Some(request) = request(&mut stream) else {
                return;
            };
            let mut all = heard.lock().expect("requests");
            let answer = answers[all.len().min(answers.len() - 1)];
            all.push(String::from_utf8(request).expect("UTF-8"));
            drop(all);
            let _ = stream.write_all(answer.as_bytes());
            tls::end(&mut stream);
        });
        Double { server, asked }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/", self.server.address.port())
    }

    fn asked(&self) -> usize {
        self.asked.lock().expect("requests").len()
    }
}

/// A request that comes whole.
fn request(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&request) {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => request.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
    Some(request)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    length.is_some_and(|length| body.len() >= length.parse().expect("a length"))
}

const DEVICE: &str = "HTTP/1.0 200 OK\r\n\r\n{\"device_code\":\"d\",\"user_code\":\"AB-CD\",\
    \"verification_uri\":\"https://login.example/device\",\"expires_in\":900,\"interval\":1}";

fn by_device(place: &Place, double: &Double) -> Command {
    let urls = [
        ("--token-url", double.url()),
        ("--device-url", double.url()),
    ];
    place.sign_in("id", &urls)
}

#[test]
fn a_person_that_says_no_or_is_too_late_is_told_so_and_nothing_changes() {
    require!(adit);
    const PENDING: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 33\r\n\r\n{\"error\":\"authorization_pending\"}";
    let place = Place::new();
    let cases: [(&'static [&'static str], &str); 4] = [
        (
            &[
                DEVICE,
                PENDING,
                "HTTP/1.0 400 No\r\n\r\n{\"error\":\"access_denied\",\"error_description\":\"by you\"}",
            ],
            "access_denied (by you)",
        ),
        (
            &[
                DEVICE,
                "HTTP/1.0 400 No\r\n\r\n{\"error\":\"expired_token\"}",
            ],
            "expired",
        ),
        (&["HTTP/1.0 503 No\r\n\r\n<html>"], "HTTP status 503"),
        (
            &[DEVICE, "HTTP/1.0 200 OK\r\n\r\n{\"access_token\":\"a\"}"],
            "no refresh token",
        ),
    ];
    for (answers, phrase) in cases {
        let double = Double::start(&place.certs, answers);
        said(
            &mut by_device(&place, &double),
            false,
            &[phrase, "nothing was changed"],
        );
        assert_eq!(double.asked(), answers.len());
        assert!(!place.account().exists());
    }
}

#[test]
fn the_local_password_is_asked_for_twice_and_not_shown() {
    require!(adit);
    const GRANTED: &str = "HTTP/1.0 200 OK\r\n\r\n{\"access_token\":\"a\",\"refresh_token\":\"r\"}";
    let place = Place::new();
    let double = Double::start(&place.certs, &[DEVICE, GRANTED]);
    let start = |terminal: &Terminal| {
        let mut command = Command::new(program());
        command.args(["login", NAME, "--client-id", "id"]);
        command.args(["--token-url", &double.url(), "--device-url", &double.url()]);
        command.arg("--ca-file").arg(place.certs.ca());
        command.arg(place.folder.path().join("adit.conf"));
        terminal.attach(&mut command);
        command.spawn().expect("adit")
    };
    for (second, answer) in [
        ("another password", "the two differ"),
        (PASSWORD, "is signed in"),
    ] {
        let terminal = Terminal::new();
        let mut adit = start(&terminal);
        for (question, text) in [("Local password: ", PASSWORD), ("Once more: ", second)] {
            let asked = || terminal.shown().ends_with(question).then_some(());
            wait_for(question, asked);
            terminal.type_in(&format!("{text}\n"));
        }
        wait_for(answer, || terminal.shown().contains(answer).then_some(()));
        let status = adit.wait().expect("an end");
        assert_eq!(status.success(), second == PASSWORD);
        assert!(
            !terminal.shown().contains("password\r\n"),
            "{}",
            terminal.shown()
        );
    }
    assert!(place.account().exists());
}

#[test]
fn a_sign_in_that_is_interrupted_changes_nothing() {
    require!(adit);
    let place = Place::new();
    let double = Double::start(
        &place.certs,
        &[DEVICE, "HTTP/1.0 400 No\r\n\r\n{\"error\":\"slow_down\"}"],
    );
    let mut going = Going::start(&mut by_device(&place, &double));
    going.line("adit waits for 15 minutes");
    kill(Pid::from_raw(going.child.id() as i32), Signal::SIGINT).expect("kill");
    going.ends(false, &["interrupted: nothing was changed"]);
    assert!(!place.account().exists());
}

#[test]
fn a_token_server_that_cannot_be_verified_or_gives_garbage_is_asked_for_no_more() {
    require!(adit);
    let place = Place::new();
    let double = Double::start(&place.certs, &["HTTP/1.0 200 OK\r\n\r\n{"]);
    let urls = [
        ("--token-url", double.url()),
        ("--device-url", double.url()),
    ];
    let mut command = place.login(&[NAME, "--client-id", "id"]);
    for (flag, url) in &urls {
        command.args([*flag, url]);
    }
    // The system's authorities do not vouch for it, and it hears nothing.
    said(&mut command, false, &["token server localhost:"]);
    assert_eq!(double.asked(), 0);
    said(&mut by_device(&place, &double), false, &["no JSON object"]);
    place.says(&[NAME], false, &["--client-id"]);
    place.says(
        &["you@gmail.com"],
        false,
        &["console.cloud.google.com", "seven days"],
    );
}
