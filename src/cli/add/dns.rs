//! The question for a service's servers to a domain's DNS (RFC 2782), and what an answer says. Never in here: a
//! socket, or a name from an answer that is not the name of a host.

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

use super::address::is_host;
use super::offer::served_by;
use crate::cli::providers::{Mail, Server, Tls};

/// The services of mail programs in the order in which they are wanted: those with TLS from the first byte
/// (RFC 8314, section 5.1) before those with STARTTLS (RFC 6186, section 3).
pub(super) const SERVICES: [(&str, Mail, Tls); 6] = [
    ("_submissions._tcp", Mail::Smtp, Tls::AtOnce),
    ("_submission._tcp", Mail::Smtp, Tls::Starttls),
    ("_pop3s._tcp", Mail::Pop3, Tls::AtOnce),
    ("_pop3._tcp", Mail::Pop3, Tls::Starttls),
    ("_imaps._tcp", Mail::Imap, Tls::AtOnce),
    ("_imap._tcp", Mail::Imap, Tls::Starttls),
];

/// Why an answer tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// It is none to this question, or cannot be read.
    Other,
    /// It did not fit: ask by TCP.
    Truncated,
    /// The name server could not find out, or would not.
    Failed,
}

/// A question, in the bytes of RFC 1035.
///
/// # Errors
/// The domain does not fit into a question.
pub(super) fn question(id: u16, service: &str, domain: &str) -> Option<Vec<u8>> {
    let name = format!("{service}.{domain}");
    let name = Name::new(&name).ok()?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let kind = (QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN));
    packet
        .questions
        .push(Question::new(name, kind.0, kind.1, false));
    packet.build_bytes_vec().ok()
}

/// The best server that an answer to this question names; `Ok(None)` if there is no such service.
///
/// # Errors
/// It tells nothing.
pub(super) fn answer(asked: &[u8], bytes: &[u8], tls: Tls) -> Result<Option<Server>, Unanswered> {
    let asked = Packet::parse(asked).map_err(|_| Unanswered::Other)?;
    let packet = Packet::parse(bytes).map_err(|_| Unanswered::Other)?;
    let is_answer = packet.has_flags(PacketFlag::RESPONSE) && packet.id() == asked.id();
    let same = |one: &Question<'_>, other: &Question<'_>| {
        let names = [one, other].map(|it| it.qname.to_string().to_ascii_lowercase());
        names[0] == names[1] && one.qtype == other.qtype
    };
    let is_to_it = match (&asked.questions[..], &packet.questions[..]) {
        ([one], [other]) => same(one, other),
        _ => false,
    };
    if !is_answer || !is_to_it {
        return Err(Unanswered::Other);
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Err(Unanswered::Truncated);
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(None),
        _ => return Err(Unanswered::Failed),
    }
    let records = packet
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::SRV(srv) => Some(srv),
            _ => None,
        });
    // A "." says that there is none (RFC 2782), and is no host's name.
    let mut hosts: Vec<_> = records
        .map(|srv| {
            (
                srv.priority,
                u16::MAX - srv.weight,
                srv.target.to_string(),
                srv.port,
            )
        })
        .filter(|(_, _, host, port)| is_host(host) && *port > 0)
        .collect();
    // The same choice each time: it becomes a line of the configuration.
    hosts.sort();
    let best = hosts.into_iter().next();
    Ok(best.map(|(_, _, host, port)| served_by(&host, port, tls)))
}

/// A target of `fuzz/`: an answer to a question for `example.com`. Its server is one that a configuration can
/// name.
#[cfg(fuzzing)]
#[expect(
    clippy::expect_used,
    reason = "a panic is how libFuzzer learns of a fault"
)]
pub(crate) fn fuzz(bytes: &[u8]) {
    let asked = question(7, "_imaps._tcp", "example.com").expect("a question");
    if let Ok(Some(server)) = answer(&asked, bytes, Tls::AtOnce) {
        let text = format!("{}:{}:tls", server.host, server.port);
        assert_eq!(super::offer::by_hand(&text), Ok(server));
    }
}

#[cfg(test)]
mod tests {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::SRV;

    use super::*;

    fn asked() -> Vec<u8> {
        question(7, "_imaps._tcp", "example.com").unwrap()
    }

    fn reply(
        servers: &[(u16, u16, u16, &'static str)],
        change: impl Fn(&mut Packet<'_>),
    ) -> Vec<u8> {
        let asked = asked();
        let mut packet = Packet::parse(&asked).unwrap().into_reply();
        for (priority, weight, port, target) in servers {
            let srv = SRV {
                priority: *priority,
                weight: *weight,
                port: *port,
                target: Name::new_unchecked(target),
            };
            let name = Name::new_unchecked("_imaps._tcp.example.com");
            packet
                .answers
                .push(ResourceRecord::new(name, CLASS::IN, 60, RData::SRV(srv)));
        }
        change(&mut packet);
        packet.build_bytes_vec_compressed().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Option<String>, Unanswered> {
        let server = answer(&asked(), bytes, Tls::AtOnce)?;
        Ok(server.map(|server| format!("{}:{}", server.host, server.port)))
    }

    #[test]
    fn the_question_is_the_one_of_rfc_1035() {
        let bytes = asked();
        assert_eq!(bytes[..12], [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            &bytes[12..],
            b"\x06_imaps\x04_tcp\x07example\x03com\0\0\x21\0\x01"
        );
        assert!(question(7, "_imaps._tcp", &"a.".repeat(130)).is_none());
    }

    #[test]
    fn the_first_by_priority_and_then_by_weight_is_taken() {
        let all = [
            (20, 9, 993, "c.example.net"),
            (10, 1, 993, "b.example.net"),
            (10, 5, 9993, "A.example.net"),
        ];
        let bytes = reply(&all, |_| {});
        assert_eq!(read(&bytes), Ok(Some("a.example.net:9993".to_owned())));
    }

    #[test]
    fn what_is_no_service_is_none() {
        for servers in [
            &[][..],
            &[(0, 0, 0, "")],
            &[(0, 0, 993, "bad name.example")],
            &[(0, 0, 993, "192.0.2.1")],
            &[(0, 0, 0, "a.example.net")],
        ] {
            assert_eq!(read(&reply(servers, |_| {})), Ok(None), "{servers:?}");
        }
        let none = reply(&[], |packet| *packet.rcode_mut() = RCODE::NameError);
        assert_eq!(read(&none), Ok(None));
    }

    #[test]
    fn an_answer_to_another_question_counts_for_nothing() {
        let good = [(0, 0, 993, "a.example.net")];
        let failed = reply(&[], |packet| *packet.rcode_mut() = RCODE::ServerFailure);
        assert_eq!(read(&failed), Err(Unanswered::Failed));
        let cut = reply(&good, |packet| packet.set_flags(PacketFlag::TRUNCATION));
        assert_eq!(read(&cut), Err(Unanswered::Truncated));
        for bytes in [
            asked(),
            reply(&good, |packet| packet.set_id(8)),
            reply(&good, |packet| packet.questions.clear()),
            reply(&good, |packet| {
                packet.questions[0].qname = Name::new_unchecked("x.example");
            }),
            b"nonsense".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(read(&bytes), Err(Unanswered::Other));
        }
    }
}
