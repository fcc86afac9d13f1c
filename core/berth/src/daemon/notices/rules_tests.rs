use std::{path::Path, time::Duration};

use berth_config::{Encryption, Mail as MailConfig, UserWebhooks};

use super::*;

fn mail(domain: Option<&str>, user_domains: &[&str]) -> MailConfig {
    MailConfig {
        host: "localhost".into(),
        port: 25,
        encryption: Encryption::None,
        tls_ca: "/nowhere".into(),
        login: None,
        from: "berth@example.org".into(),
        domain: domain.map(str::to_owned),
        user_domains: user_domains.iter().map(|domain| (*domain).to_owned()).collect(),
        answer_within: Duration::from_secs(1),
    }
}

fn rules(mail: Option<MailConfig>, hosts: Option<&[&str]>) -> Rules {
    let mut config = Config::for_user(Path::new("/nowhere"));
    config.notices.mail = mail;
    config.notices.user_webhooks = hosts.map(|hosts| UserWebhooks {
        key_file: "/nowhere".into(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        networks: Vec::new(),
    });
    Rules::new(&config)
}

fn ann(email: Option<&str>) -> Identity {
    Identity {
        user: "ann".into(),
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
        home: None,
        email: email.map(str::to_owned),
        roles: Vec::new(),
    }
}

fn choice(mail: MailTo, webhook: Option<&str>) -> NoticeChoice {
    NoticeChoice { on: vec![Occasion::End], mail, webhook: webhook.map(str::to_owned) }
}

#[test]
fn mail_goes_to_the_known_address_or_to_the_name_in_the_sites_domain() {
    let usual = choice(MailTo::Usual, None);
    let address = |rules: &Rules, email| rules.address(&ann(email), &usual, None);
    let site = rules(Some(mail(Some("example.org"), &[])), None);
    assert_eq!(address(&site, Some("a@known.test")).as_deref(), Some("a@known.test"));
    assert_eq!(address(&site, None).as_deref(), Some("ann@example.org"));
    // What a directory has written there need not be an address.
    assert_eq!(address(&site, Some("a@b\r\nRCPT TO:<c@d>")).as_deref(), Some("ann@example.org"));
    assert_eq!(address(&rules(Some(mail(None, &[])), None), None), None);
    assert_eq!(address(&rules(None, None), Some("a@known.test")), None);
    assert_eq!(site.address(&ann(None), &choice(MailTo::Nowhere, None), None), None);
}

#[test]
fn an_address_that_the_site_allows_no_more_gets_no_more_mail() {
    let chosen = choice(MailTo::Address("ann@lab.test".into()), None);
    let job = JobNotices { on: None, mail: Some("bob@lab.test".into()) };
    let allows = |domains: &[&str]| {
        let site = rules(Some(mail(Some("example.org"), domains)), None);
        (site.address(&ann(None), &chosen, None), site.address(&ann(None), &chosen, Some(&job)))
    };
    assert_eq!(allows(&["lab.test"]), (Some("ann@lab.test".into()), Some("bob@lab.test".into())));
    assert_eq!(allows(&["other.test"]), (None, None));
}

#[test]
fn people_choose_what_the_site_allows_and_are_told_why_not_otherwise() {
    let refused = |rules: &Rules, choice| rules.may_choose(&ann(None), &choice).unwrap_err();
    let hook = |url| choice(MailTo::Usual, Some(url));
    let site = rules(Some(mail(Some("example.org"), &["lab.test"])), Some(&["*.chat.test"]));
    assert!(site.may_choose(&ann(None), &hook("https://a.chat.test/x")).is_ok());
    assert_eq!(refused(&site, hook("https://chat.test.evil/")).field, "webhook");
    assert_eq!(refused(&site, hook("gopher://a.chat.test/")).field, "webhook");
    assert!(site.may_choose(&ann(None), &choice(MailTo::Address("Ann@Example.org".into()), None)).is_ok());
    let elsewhere = refused(&site, choice(MailTo::Address("ann@else.test".into()), None));
    assert!(elsewhere.words.contains("lab.test"), "{elsewhere:?}");
    let none = refused(&rules(None, None), hook("https://a.chat.test/"));
    assert!(none.words.contains("calls no webhooks"), "{none:?}");
}

#[test]
fn a_job_that_nobody_could_be_told_of_is_refused_with_the_way_out() {
    let job = |on: &[Occasion]| JobNotices { on: Some(on.to_vec()), mail: None };
    let words = |rules: &Rules, choice: &NoticeChoice| {
        rules.may_ask(&ann(None), choice, &job(&[Occasion::End])).map_err(|refused| refused.words)
    };
    let usual = choice(MailTo::Usual, None);
    let with_hook = choice(MailTo::Nowhere, Some("https://a.test/"));
    assert!(words(&rules(None, None), &usual).unwrap_err().contains("tells nobody"));
    assert!(
        words(&rules(None, Some(&["a.test"])), &usual).unwrap_err().contains("berth notify set --webhook")
    );
    assert!(words(&rules(Some(mail(None, &[])), None), &usual).unwrap_err().contains("--mail"));
    assert_eq!(words(&rules(None, Some(&["a.test"])), &with_hook), Ok(()));
    assert_eq!(words(&rules(Some(mail(Some("example.org"), &[])), None), &usual), Ok(()));
    assert!(rules(None, None).may_ask(&ann(None), &usual, &job(&[])).is_ok());
}
