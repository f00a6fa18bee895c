//! What token servers answer (RFC 6749, section 5; RFC 8628, section 3), sans-IO. Never in here: a secret in words.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Secret;

/// Longest token, in bytes.
pub(crate) const MAX_TOKEN: usize = 16 << 10;
/// Longest words of a server, in bytes; longer ones are cut.
const MAX_WORDS: usize = 240;
/// How long an access token is taken to live where the answer does not say. The RFC leaves it open; an hour is usual.
const USUAL_LIFE: Duration = Duration::from_mins(30);
/// The longest life that is believed.
const LONGEST_LIFE: Duration = Duration::from_hours(24 * 365);

/// Tokens that were granted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub access: Secret,
    pub life: Duration,
    /// In the place of the one that was used; `None`: that one stays.
    pub refresh: Option<Secret>,
}

/// Where a person types which code, and what adit asks with meanwhile.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeviceCode {
    pub code: Secret,
    pub user_code: String,
    /// Where to type it.
    pub page: String,
    /// The same, with the code in it.
    pub page_with_code: Option<String>,
    pub life: Duration,
    pub interval: Duration,
}

/// Why nothing was granted. Words are one line of ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The person has not finished yet.
    Pending,
    /// The same, and adit asks too often.
    SlowDown,
    /// The person said no.
    Denied(String),
    /// The code has expired.
    Expired,
    /// What was sent is not taken: a person must sign in again, or the client must be set up.
    Rejected(String),
    /// It may be another time.
    Away(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Pending => f.write_str("the sign-in is not finished"),
            Refusal::SlowDown => f.write_str("the token server is asked too often"),
            Refusal::Denied(words) => write!(f, "the sign-in was refused: {words}"),
            Refusal::Expired => f.write_str("the code has expired"),
            Refusal::Rejected(words) | Refusal::Away(words) => f.write_str(words),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: Option<Zeroizing<String>>,
    #[serde(default)]
    token_type: Value,
    #[serde(default)]
    expires_in: Value,
    #[serde(default)]
    refresh_token: Option<Zeroizing<String>>,
    #[serde(default)]
    device_code: Option<Zeroizing<String>>,
    #[serde(default)]
    user_code: Option<String>,
    #[serde(default)]
    verification_uri: Option<String>,
    /// What Google called it before the RFC.
    #[serde(default)]
    verification_url: Option<String>,
    #[serde(default)]
    verification_uri_complete: Option<String>,
    #[serde(default)]
    interval: Value,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    error_description: Value,
}

/// Reads the answer to a request for tokens.
///
/// # Errors
/// See [`Refusal`].
pub(crate) fn tokens(status: u16, body: &[u8]) -> Result<Tokens, Refusal> {
    let answer = read(status, body)?;
    let bearer = answer.token_type.as_str();
    if bearer.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(away("it gives tokens of another type than bearer"));
    }
    let access = answer
        .access_token
        .ok_or_else(|| away("it has no access_token"))?;
    let access = token(access).ok_or_else(|| away("its access_token is no token"))?;
    let refresh = match answer.refresh_token.filter(|token| !token.is_empty()) {
        Some(refresh) => Some(token(refresh).ok_or_else(|| away("its refresh_token is no token"))?),
        None => None,
    };
    Ok(Tokens {
        access,
        life: seconds(&answer.expires_in).map_or(USUAL_LIFE, |life| life.min(LONGEST_LIFE)),
        refresh,
    })
}

/// Reads the answer to a request for a device code.
///
/// # Errors
/// See [`Refusal`].
pub(crate) fn device(status: u16, body: &[u8]) -> Result<DeviceCode, Refusal> {
    let answer = read(status, body)?;
    let shown =
        |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let no = || away("it has no device code");
    let code = answer.device_code.and_then(token).ok_or_else(no)?;
    let user_code = answer.user_code.filter(shown).ok_or_else(no)?;
    let page = answer.verification_uri.or(answer.verification_url);
    Ok(DeviceCode {
        code,
        user_code,
        page: page.filter(shown).ok_or_else(no)?,
        page_with_code: answer.verification_uri_complete.filter(shown),
        life: seconds(&answer.expires_in)
            .unwrap_or(Duration::from_mins(15))
            .min(Duration::from_hours(1)),
        // RFC 8628, section 3.2: 5 unless given.
        interval: seconds(&answer.interval)
            .unwrap_or(Duration::from_secs(5))
            .min(Duration::from_mins(1)),
    })
}

/// An answer of success.
fn read(status: u16, body: &[u8]) -> Result<Answer, Refusal> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    if let Some(error) = answer.as_ref().and_then(|answer| answer.error.as_str()) {
        let words = words(
            error,
            answer.as_ref().and_then(|it| it.error_description.as_str()),
        );
        return Err(refusal(status, error, words));
    }
    match (status, answer) {
        (200 | 201, Some(answer)) => Ok(answer),
        (200 | 201, None) => Err(away("it is no JSON object")),
        (status, _) => Err(away(&format!("HTTP status {status}"))),
    }
}

/// RFC 6749, section 5.2; RFC 8628, section 3.5; OpenID Connect Core, section 3.1.2.6; Microsoft's own.
fn refusal(status: u16, error: &str, words: String) -> Refusal {
    match error {
        "authorization_pending" => Refusal::Pending,
        "slow_down" => Refusal::SlowDown,
        "expired_token" | "code_expired" | "bad_verification_code" => Refusal::Expired,
        "access_denied" | "authorization_declined" => Refusal::Denied(words),
        _ if status >= 500 || status == 429 => {
            Refusal::Away(format!("the token server answers: {words}"))
        }
        "invalid_grant"
        | "interaction_required"
        | "login_required"
        | "consent_required"
        | "invalid_client"
        | "unauthorized_client"
        | "invalid_scope"
        | "unsupported_grant_type" => {
            Refusal::Rejected(format!("the token server answers: {words}"))
        }
        _ => Refusal::Away(format!("the token server answers: {words}")),
    }
}

fn away(what: &str) -> Refusal {
    Refusal::Away(format!("the token server's answer cannot be used: {what}"))
}

/// What a server says, without what would break a line of a log.
fn words(error: &str, description: Option<&str>) -> String {
    let mut text = error.to_owned();
    if let Some(description) = description {
        text += " (";
        text += description;
        text.push(')');
    }
    let printable = |c: char| if (' '..='~').contains(&c) { c } else { ' ' };
    text.chars().map(printable).take(MAX_WORDS).collect()
}

/// What goes into a line of a dialogue: visible ASCII (RFC 6749, appendix A.12, without the blank).
fn token(text: Zeroizing<String>) -> Option<Secret> {
    let good = (1..=MAX_TOKEN).contains(&text.len());
    (good && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Secret::new(text.as_str()))
}

/// A number, or its digits as a text, as some servers send it.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number
            .as_u64()
            .or_else(|| number.as_f64().map(|it| it as u64)),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    };
    seconds.map(Duration::from_secs)
}

/// Of fuzz/: what is taken of an answer is within bounds, and its words are one line of ASCII.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((status, body)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let status = 100 + u16::from_le_bytes(*status) % 500;
    match tokens(status, body) {
        Ok(tokens) => {
            assert!(
                tokens
                    .access
                    .reveal()
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic())
            );
            assert!(tokens.life <= LONGEST_LIFE);
        }
        Err(refusal) => assert!(
            refusal
                .to_string()
                .bytes()
                .all(|byte| (b' '..=b'~').contains(&byte))
        ),
    }
    if let Ok(code) = device(status, body) {
        assert!(
            code.page
                .bytes()
                .chain(code.user_code.bytes())
                .all(|byte| byte.is_ascii_graphic())
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_servers_send_them() {
        for (body, life, refresh) in [
            (
                r#"{"access_token":"ya29","expires_in":3599,"token_type":"Bearer"}"#,
                3599,
                None,
            ),
            (
                r#"{"access_token":"ya29","expires_in":"60","refresh_token":"1//x","other":[1]}"#,
                60,
                Some("1//x"),
            ),
            (
                r#"{"access_token":"ya29","expires_in":60.5,"refresh_token":"","token_type":"bearer"}"#,
                60,
                None,
            ),
            (
                r#"{"access_token":"ya29","expires_in":-1,"refresh_token":null}"#,
                0,
                None,
            ),
            (r#"{"access_token":"ya29"}"#, 1800, None),
            (
                r#"{"access_token":"ya29","expires_in":1e300}"#,
                365 * 24 * 3600,
                None,
            ),
        ] {
            let read = tokens(200, body.as_bytes()).unwrap();
            assert_eq!(read.access.reveal(), "ya29");
            assert_eq!(read.life.as_secs(), life, "{body}");
            assert_eq!(read.refresh.as_ref().map(Secret::reveal), refresh, "{body}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_for_another_time() {
        let long = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(MAX_TOKEN + 1));
        for (status, body) in [
            (200, ""),
            (200, "<html>"),
            (200, "[]"),
            (200, "{}"),
            (200, r#"{"access_token":""}"#),
            (200, r#"{"access_token":"a\u0001b"}"#),
            (200, r#"{"access_token":"a","refresh_token":"a b"}"#),
            (200, r#"{"access_token":"a","token_type":"mac"}"#),
            (200, &long),
            (302, ""),
            (404, "<html>"),
            (400, r#"{"error":"new_one"}"#),
            (400, r#"{"error":{"code":1}}"#),
            (500, r#"{"error":"server_error"}"#),
            (503, r#"{"error":"invalid_grant"}"#),
            (429, r#"{"error":"invalid_client"}"#),
        ] {
            let refused = tokens(status, body.as_bytes()).unwrap_err();
            assert!(matches!(refused, Refusal::Away(_)), "{body}: {refused:?}");
        }
    }

    #[test]
    fn errors_are_told_apart_and_said_in_one_line() {
        let refused = |error: &str| {
            let body =
                format!(r#"{{"error":"{error}","error_description":"AADSTS1:\r\nno \u00e4"}}"#);
            tokens(400, body.as_bytes()).unwrap_err()
        };
        assert_eq!(refused("authorization_pending"), Refusal::Pending);
        assert_eq!(refused("slow_down"), Refusal::SlowDown);
        assert_eq!(refused("expired_token"), Refusal::Expired);
        let denied = "authorization_declined (AADSTS1:  no  )";
        assert_eq!(
            refused("authorization_declined"),
            Refusal::Denied(denied.to_owned())
        );
        let rejected = "the token server answers: invalid_grant (AADSTS1:  no  )";
        assert_eq!(
            refused("invalid_grant"),
            Refusal::Rejected(rejected.to_owned())
        );
    }

    #[test]
    fn a_device_code_is_read_by_the_rfc_and_as_google_had_it() {
        let body = r#"{"device_code":"d","user_code":"A-B","verification_uri":"https://x/d","expires_in":900}"#;
        let code = device(200, body.as_bytes()).unwrap();
        assert_eq!(
            (code.user_code.as_str(), code.page.as_str()),
            ("A-B", "https://x/d")
        );
        assert_eq!((code.life.as_secs(), code.interval.as_secs()), (900, 5));
        let body =
            r#"{"device_code":"d","user_code":"A","verification_url":"https://x","interval":1}"#;
        assert_eq!(device(200, body.as_bytes()).unwrap().interval.as_secs(), 1);
        for body in [
            "{}",
            r#"{"device_code":"d","user_code":"\u001b[0m","verification_uri":"x"}"#,
        ] {
            assert!(matches!(
                device(200, body.as_bytes()),
                Err(Refusal::Away(_))
            ));
        }
    }
}
