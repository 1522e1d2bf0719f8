use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::{MessageType, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, TXT};
use hickory_proto::rr::{RData, Record as Wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

/// What a test's server does with a question: the messages it sends.
type Answer = dyn Fn(&Message, usize, bool) -> Vec<Vec<u8>> + Send + Sync;

/// A server on loopback, by UDP and TCP; told the question, how many came before by UDP, and
/// whether it came by TCP.
async fn server(
    answer: impl Fn(&Message, usize, bool) -> Vec<Vec<u8>> + Send + Sync + 'static,
) -> Server {
    let answer: Arc<Answer> = Arc::new(answer);
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let at: SocketAddr = udp.local_addr().unwrap();
    let by_tcp = Arc::clone(&answer);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        for before in 0.. {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            for answer in answer(&question, before, false) {
                udp.send_to(&answer, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut bytes).await.unwrap();
            let question = Message::from_vec(&bytes).unwrap();
            for answer in by_tcp(&question, 0, true) {
                stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        }
    });
    at.to_string().parse().unwrap()
}

fn reply(question: &Message, data: impl IntoIterator<Item = RData>) -> Message {
    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.add_queries(question.queries.clone());
    let name = question.queries[0].name();
    for data in data {
        message.add_answer(Wire::from_rdata(name.clone(), 60, data));
    }
    message
}

fn bytes(message: &Message) -> Vec<Vec<u8>> {
    vec![message.to_vec().unwrap()]
}

fn txt(text: &str) -> RData {
    RData::TXT(TXT::new(vec![text.to_owned()]))
}

fn resolver(servers: Vec<Server>) -> Resolver {
    Resolver { servers, limit: Duration::from_secs(60), is_tcp_only: false }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_asked_for_again_by_tcp() {
    let server = server(|question, _, is_tcp| {
        let mut message = reply(question, is_tcp.then(|| txt("long")));
        message.metadata.truncation = !is_tcp;
        bytes(&message)
    })
    .await;

    let answer = resolver(vec![server]).ask("a.example.org", Kind::Txt).await.unwrap();

    assert_eq!(answer.records.len(), 1);
    assert_eq!(answer.records[0].data, Data::Text(b"long".to_vec()));
    assert_eq!(answer.records[0].name, "a.example.org.");
}

#[tokio::test]
async fn what_answers_no_question_of_ours_is_passed_over_and_a_lost_one_sent_again() {
    let server = server(|question, before, _| {
        if before == 0 {
            return vec![];
        }
        let right = reply(question, [txt("x")]);
        let (mut other_id, mut other_name) = (reply(question, []), reply(question, []));
        other_id.metadata.id ^= 1;
        other_name.queries[0] = Query::query(parse("b.org").unwrap(), RecordType::TXT);
        [&other_id, &other_name, question, &right].map(bytes).concat()
    })
    .await;

    let answer = resolver(vec![server]).ask("a.org", Kind::Txt).await.unwrap();

    assert_eq!(answer.records[0].data, Data::Text(b"x".to_vec()));
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_has_nothing() {
    let empty = server(|question, _, _| {
        let mut message = reply(question, []);
        message.metadata.response_code = ResponseCode::NXDomain;
        bytes(&message)
    })
    .await;
    let full = server(|question, _, _| bytes(&reply(question, [txt("x")]))).await;

    let answer = resolver(vec![empty.clone(), full]).ask("a.org", Kind::Txt).await.unwrap();
    assert_eq!(answer.records.len(), 1);

    let answer = resolver(vec![empty]).ask("a.org", Kind::Txt).await.unwrap();
    assert_eq!((answer.code, answer.records.len()), (Code::NO_NAME, 0));
    assert_eq!(resolver(vec![]).ask("a.org", Kind::Txt).await, Err(Error::NoServer));
}

#[tokio::test]
async fn a_server_that_is_dead_or_refuses_costs_no_more_than_the_patience() {
    let dead = server(|_, _, _| vec![]).await;
    let refusing = server(|question, _, _| {
        let mut message = reply(question, []);
        message.metadata.response_code = ResponseCode::Refused;
        bytes(&message)
    })
    .await;
    let full = server(|question, _, _| bytes(&reply(question, [txt("x")]))).await;
    let patience = Duration::from_millis(50);
    let servers = vec![dead.clone(), refusing.clone(), full.clone(), dead.clone()];

    let answer = resolver(servers).ask_first("a.org", Kind::Txt, patience).await.unwrap();
    assert_eq!(*answer.server, *full.to_string());

    let answer = resolver(vec![refusing]).ask_first("a.org", Kind::Txt, patience).await.unwrap();
    assert!(!answer.is_certain());
    let mut none = resolver(vec![dead.clone()]);
    none.limit = Duration::from_millis(100);
    let error = none.ask_first("a.org", Kind::Txt, patience).await.unwrap_err();
    assert_eq!(error.to_string(), format!("DNS server {dead}: no answer within 100ms"));
    let nobody = resolver(vec![]).ask_first("a.org", Kind::Txt, patience).await;
    assert_eq!(nobody, Err(Error::NoServer));
}

#[tokio::test]
async fn who_knows_that_there_is_nothing_is_believed() {
    let empty = server(|question, _, _| {
        let mut message = reply(question, []);
        message.metadata.response_code = ResponseCode::NXDomain;
        bytes(&message)
    })
    .await;
    let full = server(|question, _, _| bytes(&reply(question, [txt("x")]))).await;

    let asking = resolver(vec![empty, full]);
    let answer = asking.ask_first("a.org", Kind::Txt, Duration::from_secs(60)).await.unwrap();

    assert_eq!((answer.code, answer.records.len()), (Code::NO_NAME, 0));
}

#[tokio::test]
async fn who_does_not_answer_is_named() {
    let server = server(|_, _, _| vec![]).await;
    let mut resolver = resolver(vec![server.clone()]);
    resolver.limit = Duration::from_millis(100);

    let error = resolver.ask("a.org", Kind::A).await.unwrap_err();

    assert_eq!(error.to_string(), format!("DNS server {server}: no answer within 100ms"));
}

#[tokio::test]
async fn aliases_are_followed_and_a_ring_of_them_ends() {
    let server = server(|question, _, _| {
        let target = match question.queries[0].name().to_ascii().as_str() {
            "a.org." => "b.org.",
            "b.org." => "C.org.",
            "ring.org." => "gnir.org.",
            "gnir.org." => "ring.org.",
            _ => return bytes(&reply(question, [])),
        };
        bytes(&reply(question, [RData::CNAME(CNAME(parse(target).unwrap()))]))
    })
    .await;
    let resolver = resolver(vec![server]);

    assert_eq!(resolver.follow("a.org.").await, "c.org.");
    assert_eq!(resolver.follow("x.org.").await, "x.org.");
    assert!(resolver.follow("ring.org.").await.ends_with("org."));
}

#[test]
fn servers_are_read_as_lego_reads_them() {
    for (written, shown) in [
        ("192.0.2.1", "192.0.2.1:53"),
        ("192.0.2.1:5353", "192.0.2.1:5353"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ("dns.example.org", "dns.example.org:53"),
        (" dns.example.org:54 ", "dns.example.org:54"),
    ] {
        assert_eq!(written.parse::<Server>().unwrap().to_string(), shown);
    }
    for written in ["", ":53", "a:b", "a:0", "a b", "[::1", "[x]:53", "https://dns.example.org"] {
        assert!(written.parse::<Server>().is_err(), "{written}");
    }
}

#[test]
fn a_resolv_conf_gives_its_servers_in_order() {
    let file = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1 # first\n\
                nameserver\t2001:db8::1\noptions ndots:5\nnameserver\nnameserver nonsense\n";

    let servers: Vec<_> = configured(file).iter().map(ToString::to_string).collect();

    assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
}

#[test]
fn names_that_are_none_are_not_asked_for() {
    for name in ["", "a..org", &"x".repeat(64), "a b.org", "ä.org", "a\\046org"] {
        assert_eq!(parse(name), Err(Error::Name { name: name.into() }), "{name}");
    }
    assert_eq!(text(&parse("A.Example.org").unwrap()), "a.example.org.");
}

fn change() -> Update<'static> {
    Update {
        zone: "example.org.",
        name: "_acme-challenge.example.org.",
        text: "value",
        ttl: 120,
        change: Change::Add,
    }
}

/// An answer signed as a server does: over the request's MAC too.
fn signed(key: &Key, request: &Message, spoil: bool) -> Vec<Vec<u8>> {
    use aws_lc_rs::hmac;
    use hickory_proto::serialize::binary::BinEncoder;

    let signature = request.additionals.iter().find_map(|record| {
        let RData::TSIG(tsig) = &record.data else { return None };
        Some((record.name.clone(), tsig.clone()))
    });
    let (name, mut tsig) = signature.unwrap();
    let mut message = reply(request, []);
    message.metadata.message_type = MessageType::Response;
    let mut covered = u16::try_from(tsig.mac.len()).unwrap().to_be_bytes().to_vec();
    covered.extend(&tsig.mac);
    covered.extend(message.to_vec().unwrap());
    let mut variables = Vec::new();
    tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut variables), &name).unwrap();
    covered.extend(variables);
    tsig.mac = hmac::sign(key.secret(), &covered).as_ref().to_vec();
    if spoil {
        tsig.mac[0] ^= 1;
    }
    let record = hickory_proto::rr::rdata::tsig::make_tsig_record(name, tsig);
    message.signature = Some(Box::new(record));
    bytes(&message)
}

#[tokio::test]
async fn an_update_is_done_only_if_its_answer_is_signed_with_the_same_key() {
    for algorithm in ALGORITHMS {
        let key = Key::new("k.example.org", algorithm, b"secret").unwrap().unwrap();
        let other = Key::new("k.example.org", algorithm, b"other").unwrap().unwrap();
        for (answer, wanted) in [
            ("right", None),
            ("spoilt", Some("its answer's signature is wrong")),
            ("other", Some("its answer's signature is wrong")),
            ("none", Some("its answer is not signed")),
        ] {
            let (ours, theirs) = (key.clone(), other.clone());
            let server = server(move |request, _, _| match answer {
                "none" => bytes(&reply(request, [])),
                "other" => signed(&theirs, request, false),
                _ => signed(&ours, request, answer == "spoilt"),
            })
            .await;

            let result = update(&server, &change(), Some(&key), Duration::from_secs(30)).await;

            let why = wanted.map(|why| {
                let server = server.to_string().into();
                Refused::Error(Error::Server { server, why: why.into() })
            });
            assert_eq!(result.err(), why, "{algorithm} {answer}");
        }
    }
}

#[tokio::test]
async fn what_a_server_says_against_an_update_is_told() {
    let server = server(|request, _, _| {
        let mut message = reply(request, []);
        message.metadata.response_code = ResponseCode::NotAuth;
        let mut record = request.additionals[0].clone();
        if let RData::TSIG(tsig) = &mut record.data {
            tsig.error = Some(hickory_proto::rr::rdata::tsig::TsigError::BadKey);
            tsig.mac.clear();
        }
        message.add_additional(record);
        bytes(&message)
    })
    .await;
    let key = Key::new("k", "HMAC-SHA256.", b"secret").unwrap().unwrap();

    let result = update(&server, &change(), Some(&key), Duration::from_secs(30)).await;

    assert_eq!(result, Err(Refused::Says(Code::NOT_AUTH, Some(Objection::Key))));
    assert!(Key::new("k", "hmac-md5", b"").unwrap().is_none());
}
