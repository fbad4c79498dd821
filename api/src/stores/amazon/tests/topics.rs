//! Names of topics, links of subscriptions, and the table of actions.

use super::super::envelope::{Version, parse};
use super::super::topic::{
    self, Approval, Arn, TopicAction, TopicStatus, action, approval, check_link, gives_way,
    is_subscribe_url, status,
};
use super::{ARN, SIGNER, TOKEN, header, now};
use domain::{PlatformId, TopicId};
use storage::{Topic, TopicState};
use uuid::Uuid;

#[test]
fn only_the_name_of_a_standard_topic_is_one() {
    let long = format!("arn:aws:sns:us-east-1:033616359524:{}", "x".repeat(256));
    for text in [
        ARN,
        &long,
        "arn:aws:sns:ap-southeast-10:000000000000:a_b-C",
        "arn:aws-us-gov:sns:us-gov-west-1:123456789012:t",
        "arn:aws-cn:sns:cn-north-1:123456789012:t",
    ] {
        assert_eq!(Arn::read(text).map(|arn| arn.text), Ok(text));
    }
    let too_long = format!("{long}x");
    for text in [
        "",
        "arn",
        "arn:aws:sns",
        &too_long,
        "arn:aws:sqs:us-east-1:033616359524:LT0XA",
        "arn:aws:sns:us-east-1:033616359524:",
        "arn:aws:sns:us-east-1:33616359524:LT0XA",
        "arn:aws:sns:us-east-1:03361635952a:LT0XA",
        "arn:aws:sns:us-east-1:033616359524:LT0XA.fifo",
        "arn:aws:sns:us-east-1:033616359524:LT0XA:a745747c-8230-4cd2-84c6-d0e7df9f1ca1",
        "arn:aws:sns:us-east-1:033616359524:LT0XA\n",
        " arn:aws:sns:us-east-1:033616359524:LT0XA",
        "ARN:aws:sns:us-east-1:033616359524:LT0XA",
        "arn:aws:sns:US-EAST-1:033616359524:LT0XA",
        "arn:aws:sns:s3-us-west-2:033616359524:LT0XA",
        "arn:aws:sns:s3:033616359524:LT0XA",
        "arn:aws:sns:us-east:033616359524:LT0XA",
        "arn:aws:sns:us--1:033616359524:LT0XA",
        "arn:aws:sns::033616359524:LT0XA",
        "arn:aws:sns:us-east-1.evil.com/:033616359524:LT0XA",
        "arn:aws:sns:us-gov-west-1:033616359524:LT0XA",
        "arn:aws-cn:sns:us-east-1:033616359524:LT0XA",
        "arn:aws-iso:sns:us-iso-east-1:033616359524:LT0XA",
        "arn:aws-eusc:sns:eusc-de-east-1:033616359524:LT0XA",
    ] {
        assert_eq!(
            Arn::read(text).map_err(|why| why.reason()),
            Err("TopicArn is not the name of an SNS topic"),
            "{text}"
        );
    }
    let china = Arn::parse("arn:aws-cn:sns:cn-north-1:123456789012:t")
        .map_err(|why| (why.status(), why.reason()));
    assert_eq!(
        china,
        Err((403, "topics in China are not allowed by the settings"))
    );
}

#[test]
fn a_topic_speaks_through_one_host() {
    for (text, host) in [
        (ARN, "sns.us-east-1.amazonaws.com"),
        (
            "arn:aws-us-gov:sns:us-gov-west-1:123456789012:t",
            "sns.us-gov-west-1.amazonaws.com",
        ),
        (
            "arn:aws-cn:sns:cn-north-1:123456789012:t",
            "sns.cn-north-1.amazonaws.com.cn",
        ),
    ] {
        assert_eq!(Arn::read(text).expect("a topic").host(), host);
    }
}

fn link(url: &str, token: &str) -> String {
    let document = SIGNER
        .sign_subscription(&header(Version::One), token)
        .expect("signed");
    let mut document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    document["SubscribeURL"] = url.into();
    document.to_string()
}

#[test]
fn a_subscription_is_confirmed_by_one_url_only() {
    let base = format!(
        "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={ARN}&Token={TOKEN}"
    );
    let escaped = base.replace("TopicArn=arn:aws:sns:", "TopicArn=arn%3Aaws%3Asns%3A");
    let another_order = format!(
        "https://sns.us-east-1.amazonaws.com/?Token={TOKEN}&TopicArn={ARN}&Action=ConfirmSubscription"
    );
    let arn = Arn::parse(ARN).expect("a topic");
    let check = |url: &str| {
        check_link(
            &parse(link(url, TOKEN).as_bytes()).expect("a document"),
            &arn,
        )
    };
    for url in [&base, &escaped, &another_order] {
        assert_eq!(check(url), Ok(()), "{url}");
        assert!(is_subscribe_url(url), "{url}");
    }
    let wrong = [
        base.replace("https://", "http://"),
        base.replace("https://", "HTTPS://"),
        base.replace("us-east-1.amazonaws", "us-west-2.amazonaws"),
        base.replace(".com/", ".com:443/"),
        base.replace("https://", "https://user@"),
        base.replace(".com/", ".com.evil.com/"),
        base.replace(".com/", ".com./"),
        base.replace("https://sns", "https://SNS"),
        base.replace("https://sns", "https://evil.com\\@sns"),
        base.replace(".com/?", ".com/x?"),
        base.replace("ConfirmSubscription", "Unsubscribe"),
        base.replace("Action=ConfirmSubscription&", ""),
        base.replace("LT0XA", "other"),
        base.replace(TOKEN, "other"),
        format!("{base}#fragment"),
        format!("{base}&Action=Unsubscribe"),
        format!("{base}&Token={TOKEN}"),
        format!("{base}&T%6fken={TOKEN}"),
        format!("{base}\n"),
        base.replace("&Token", "&To\tken"),
        "https://127.0.0.1/?Action=ConfirmSubscription".to_owned(),
        "UnsubscribeUrl".to_owned(),
        String::new(),
    ];
    for url in wrong {
        assert_eq!(
            check(&url).map_err(|why| why.reason()),
            Err("SubscribeURL does not confirm this topic"),
            "{url}"
        );
    }
    assert!(!is_subscribe_url(
        "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe"
    ));
    assert!(!is_subscribe_url(
        &base.replace("sns.us-east-1", "sns.us-west-2")
    ));
}

fn known(state: TopicState) -> Topic {
    Topic {
        id: TopicId::new(Uuid::from_u128(7)),
        platform_id: PlatformId::new(Uuid::from_u128(8)),
        arn: ARN.to_owned(),
        state,
        requested_at: now(),
        decided_at: None,
        expires_at: None,
    }
}

#[test]
fn what_is_done_is_one_table() {
    let header = header(Version::Two);
    let documents = [
        SIGNER
            .sign_notification(&header, None, "Hello")
            .expect("signed"),
        SIGNER.sign_subscription(&header, TOKEN).expect("signed"),
        SIGNER.sign_unsubscription(&header, TOKEN).expect("signed"),
    ];
    let id = TopicId::new(Uuid::from_u128(7));
    let (unknown, rejected) = ("topic is not known to this platform", "topic was rejected");
    let expected = [
        (
            Some(TopicState::Configured),
            [
                Ok(TopicAction::Accept),
                Ok(TopicAction::Confirm),
                Ok(TopicAction::Unsubscribe),
            ],
        ),
        (
            Some(TopicState::Confirmed),
            [
                Ok(TopicAction::Accept),
                Ok(TopicAction::Confirm),
                Ok(TopicAction::Unsubscribe),
            ],
        ),
        (
            Some(TopicState::Unsubscribed),
            [
                Ok(TopicAction::Accept),
                Ok(TopicAction::Confirm),
                Ok(TopicAction::Unsubscribe),
            ],
        ),
        (
            Some(TopicState::Pending),
            [
                Ok(TopicAction::AcceptWaiting(id)),
                Ok(TopicAction::RequestApproval),
                Ok(TopicAction::Unsubscribe),
            ],
        ),
        (
            Some(TopicState::Expired),
            [Err(unknown), Ok(TopicAction::RequestApproval), Err(unknown)],
        ),
        (
            Some(TopicState::Rejected),
            [Err(rejected), Err(rejected), Err(rejected)],
        ),
        (
            None,
            [Err(unknown), Ok(TopicAction::RequestApproval), Err(unknown)],
        ),
    ];
    for (state, courses) in expected {
        let topics: Vec<Topic> = state.map(known).into_iter().collect();
        for (document, wanted) in documents.iter().zip(courses) {
            let envelope = parse(document.as_bytes()).expect("a document");
            let found = action(&envelope, status(&topics, ARN), Approval::Needed)
                .map_err(|why| why.reason());
            assert_eq!(found, wanted, "{state:?} {:?}", envelope.kind);
        }
    }
}

#[test]
fn a_configured_account_is_followed_only_as_the_first_topic() {
    let arn = Arn::parse(ARN).expect("a topic");
    let accounts = ["033616359524".to_owned()];
    let another = Topic {
        arn: ARN.replace("LT0XA", "other"),
        ..known(TopicState::Confirmed)
    };
    assert_eq!(approval(&[], &arn, &accounts), Approval::NotNeeded);
    assert_eq!(approval(&[], &arn, &[]), Approval::Needed);
    assert_eq!(
        approval(&[], &arn, &["123456789012".to_owned()]),
        Approval::Needed
    );
    assert_eq!(
        approval(std::slice::from_ref(&another), &arn, &accounts),
        Approval::Needed
    );
    // A pending topic of a different account does not block the first topic of a configured account.
    let pending = Topic {
        state: TopicState::Pending,
        ..another
    };
    assert_eq!(approval(&[pending], &arn, &accounts), Approval::NotNeeded);
    let document = SIGNER
        .sign_subscription(&header(Version::One), TOKEN)
        .expect("signed");
    let envelope = parse(document.as_bytes()).expect("a document");
    assert_eq!(
        action(&envelope, TopicStatus::Unknown, Approval::NotNeeded),
        Ok(TopicAction::Confirm)
    );
    assert_eq!(
        action(
            &envelope,
            topic::status(&[known(TopicState::Rejected)], ARN),
            Approval::NotNeeded
        )
        .map_err(|why| why.status()),
        Err(403)
    );
}

/// The index of the topic that is dropped for a new one of `account`. `topics` has each topic's account and state.
fn gone(topics: &[(u64, TopicState)], account: u64) -> Option<u128> {
    let topic = |(number, (account, state)): (u128, &(u64, TopicState))| Topic {
        id: TopicId::new(Uuid::from_u128(number)),
        arn: format!("arn:aws:sns:us-east-1:{account:012}:t{number}"),
        ..known(*state)
    };
    let topics: Vec<Topic> = (0..).zip(topics).map(topic).collect();
    let new = format!("arn:aws:sns:us-east-1:{account:012}:new");
    let gone = gives_way(
        &topics,
        &Arn::parse(&new).expect("a topic"),
        &["000000000009".to_owned()],
    );
    gone.map(|id| id.uuid().as_u128())
}

#[test]
fn a_strangers_topic_gives_way_and_no_other() {
    use TopicState::{Confirmed, Pending, Rejected};
    let amazon = 33_616_359_524;
    let one_each = [1, 2, 3, 4, 5].map(|account| (account, Pending));
    for (topics, account, expected) in [
        (one_each, 6, None),
        (one_each, 1, None),
        (one_each, amazon, Some(0)),
        // An account from the settings, and one that owns a followed topic.
        (one_each, 9, Some(0)),
        (
            [
                (1, Rejected),
                (2, Pending),
                (3, Pending),
                (4, Pending),
                (5, Confirmed),
            ],
            5,
            Some(1),
        ),
        (
            [
                (9, Pending),
                (amazon, Pending),
                (3, Pending),
                (4, Pending),
                (5, Pending),
            ],
            amazon,
            Some(2),
        ),
        ([amazon; 5].map(|account| (account, Pending)), amazon, None),
        ([amazon; 5].map(|account| (account, Pending)), 1, None),
        // Drops the oldest topic of the account with the most topics, unless the new topic's account would then have
        // more.
        (
            [
                (2, Pending),
                (1, Pending),
                (1, Pending),
                (3, Pending),
                (4, Pending),
            ],
            6,
            Some(1),
        ),
        (
            [
                (2, Pending),
                (1, Pending),
                (1, Pending),
                (3, Pending),
                (4, Pending),
            ],
            2,
            None,
        ),
        (
            [
                (2, Pending),
                (1, Pending),
                (1, Pending),
                (1, Pending),
                (2, Pending),
            ],
            6,
            Some(1),
        ),
        (
            [
                (2, Pending),
                (1, Pending),
                (1, Pending),
                (1, Pending),
                (2, Pending),
            ],
            2,
            None,
        ),
        ([1; 5].map(|account| (account, Pending)), 1, None),
    ] {
        assert_eq!(
            gone(&topics, account),
            expected,
            "{account} beside {topics:?}"
        );
    }
}
