//! SMTP: a login in the local client's place, within TLS (RFC 4954, PLAIN and LOGIN). The client was greeted before,
//! and is not heard meanwhile.

use super::ProtocolError;
use super::io::{Io, Size, Step};
use super::script::State;
use super::smtp::{ehlo, reply_line};
use super::{Action, Awaited};
use crate::base64;
use crate::config::{Authentication, DialogueOptions, Secret};

/// See the module.
#[derive(Debug)]
pub(super) struct Login {
    /// What is said next, the last one first.
    words: Vec<(Secret, &'static str)>,
    /// The code that the answer to the last must have.
    code: &'static str,
    /// What is awaited once the server has said what it can.
    way: Awaited,
    size: Size,
}

impl Login {
    pub(super) fn new(options: &DialogueOptions) -> Login {
        let (name, password) = options.account().unwrap_or_default();
        let mut way = Awaited::Plain;
        let mut words = vec![(Secret::new(ehlo(options.host.as_deref())), "250")];
        match options.authentication {
            Some(Authentication::Login) => {
                way = Awaited::Login;
                words.push((Secret::new("AUTH LOGIN"), "334"));
                words.push((Secret::new(base64::encode(name.as_bytes())), "334"));
                words.push((Secret::new(base64::encode(password.as_bytes())), "235"));
            }
            _ => {
                let both = base64::encode(format!("\0{name}\0{password}").as_bytes());
                words.push((Secret::new(format!("AUTH PLAIN {both}")), "235"));
            }
        }
        words.reverse();
        Login {
            words,
            code: "",
            way,
            size: Size::default(),
        }
    }
}

impl State for Login {
    fn hears_client(&self) -> bool {
        false
    }

    fn step(mut self, io: &mut Io<'_>) -> Result<Step<Login>, ProtocolError> {
        if !self.code.is_empty() {
            let awaited = match self.code {
                "250" => Awaited::Ehlo,
                _ => self.way,
            };
            let line = reply_line(io, awaited, self.code, &mut self.size, false);
            let line = line.map_err(|error| match error {
                ProtocolError::Refused {
                    protocol,
                    awaited: awaited @ (Awaited::Plain | Awaited::Login),
                    said,
                } => ProtocolError::Credentials {
                    protocol,
                    awaited,
                    given: true,
                    said,
                },
                other => other,
            })?;
            match line {
                None => return Ok(Step::Wait(self)),
                Some(line) if !line.last => return Ok(Step::Next(self)),
                Some(_) => {}
            }
        }
        let Some((word, code)) = self.words.pop() else {
            let text = "SMTP: logged in with protocolUsername".to_owned();
            io.out.push(Action::Log(6, text));
            return Ok(Step::Plain);
        };
        io.tell_server(word.reveal());
        self.code = code;
        self.size = Size::default();
        Ok(Step::Next(self))
    }
}
