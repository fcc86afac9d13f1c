//! Who is asking.

use berth_api::{Client, ClientError, ErrorCode, NewToken, Target};

use crate::running::{Running, request};

async fn token(server: &Running) -> String {
    let new =
        NewToken { label: "ci".into(), scope: "submit".into(), expires_in: None, user: Some("ada".into()) };
    server.client().await.create_token(&new).await.unwrap().token
}

#[tokio::test]
async fn a_token_says_who_is_calling_over_the_network() {
    let server = Running::start().await;
    let token = token(&server).await;
    assert_eq!(server.remote(&token).await.info().await.unwrap().user, "ada");
    for bearer in ["Bearer", "bearer", "BEARER"] {
        let header = format!("Authorization: {bearer} {token}\r\n");
        assert_eq!(server.raw_tcp(request("GET", "/v1/info", &header, "")).await.status, 200);
    }
}

#[tokio::test]
async fn on_the_socket_a_token_goes_before_the_process_owner() {
    let server = Running::start().await;
    let token = token(&server).await;
    let header = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(server.raw(request("GET", "/v1/info", &header, "")).await.json()["user"], "ada");
    // A wrong one is not made up for by being somebody on this machine.
    let answer = server.raw(request("GET", "/v1/info", "Authorization: Bearer wrong\r\n", "")).await;
    answer.refusal(401, "unauthenticated");
}

#[tokio::test]
async fn credentials_in_other_forms_are_refused() {
    let server = Running::start().await;
    let token = token(&server).await;
    for header in [
        "Authorization: Basic YTpi\r\n".to_owned(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer  \r\n".to_owned(),
        "Authorization: \r\n".to_owned(),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
        "Authorization: Bearer \u{e9}\r\n".to_owned(),
    ] {
        for answer in [
            server.raw(request("GET", "/v1/info", &header, "")).await,
            server.raw_tcp(request("GET", "/v1/info", &header, "")).await,
        ] {
            let words = answer.refusal(401, "unauthenticated");
            assert!(!words.contains(&token), "{words}");
        }
    }
}

#[tokio::test]
async fn a_revoked_token_is_good_for_nothing() {
    let server = Running::start().await;
    let remote = server.remote(&token(&server).await).await;
    assert_eq!(remote.tokens().await.unwrap()[0].label, "ci");
    remote.revoke_token(1).await.unwrap();
    // On the same connection, too.
    let error = remote.info().await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unauthenticated), "{error}");
    assert_eq!(server.client().await.revoke_token(1).await.unwrap_err().code(), Some(ErrorCode::NotFound));
}

#[tokio::test]
async fn a_new_token_is_not_kept_by_caches() {
    let server = Running::start().await;
    let body = "{\"label\": \"x\", \"scope\": \"read\"}";
    let answer = server.post("/v1/tokens", "application/json", body).await;
    assert_eq!(answer.status, 201);
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_from_one_that_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::Unix(folder.path().join("none.sock"));
    let error = Client::connect(target).await.unwrap_err();
    assert!(matches!(&error, ClientError::NoServer { .. }), "{error:?}");
    assert!(error.to_string().contains("berth serve"), "{error}");
    assert!(error.nothing_was_done());
}

#[tokio::test]
async fn somebody_else_at_the_address_is_told_from_a_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let other = tokio::spawn(async move {
        for text in [
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            "",
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await.unwrap();
        }
    });
    for words in ["502 Bad Gateway", "cannot be read", "not known whether it was done"] {
        let client =
            Client::connect(Target::Http { url: url.clone(), token: Some("hush".into()) }).await.unwrap();
        let error = client.submit(&crate::running::job("x")).await.unwrap_err();
        assert!(matches!(&error, ClientError::Broken(_)) && !error.nothing_was_done(), "{error:?}");
        assert!(error.to_string().contains(words) && error.to_string().contains(&url), "{error}");
        assert!(!format!("{error:?} {client:?}").contains("hush"));
    }
    other.await.unwrap();
}

#[tokio::test]
async fn a_session_is_begun_by_somebody_unknown_and_ended_by_whoever_has_it() {
    let server = Running::start().await;
    let json = "Content-Type: application/json\r\n";
    let right = r#"{"user": "ada", "password": "sesame"}"#;
    // What is shown along with it, good or bad, changes nothing.
    let chosen = format!("{json}Authorization: Bearer berth_chosen\r\n");
    let mut secrets = Vec::new();
    for headers in [json, &chosen] {
        let answer = server.raw_tcp(request("POST", "/v1/session", headers, right)).await;
        assert_eq!(answer.status, 201);
        assert!(answer.head.to_lowercase().contains("cache-control: no-store"), "{}", answer.head);
        secrets.push(answer.json()["token"].as_str().unwrap().to_owned());
    }
    assert!(secrets[0] != secrets[1] && !secrets.contains(&"berth_chosen".to_owned()), "{secrets:?}");
    let first = format!("Authorization: Bearer {}\r\n", secrets[0]);
    assert_eq!(server.raw_tcp(request("GET", "/v1/info", &first, "")).await.json()["user"], "ada");
    assert_eq!(server.raw_tcp(request("DELETE", "/v1/session", &first, "")).await.status, 204);
    server.raw_tcp(request("GET", "/v1/info", &first, "")).await.refusal(401, "unauthenticated");
    let wrong = r#"{"user": "ada", "password": "hunter2"}"#;
    let words =
        server.raw_tcp(request("POST", "/v1/session", json, wrong)).await.refusal(401, "unauthenticated");
    assert!(words.contains("127.0.0.1") && !words.contains("hunter2"), "{words}");
    server.raw_tcp(request("GET", "/v1/session", json, "")).await.refusal(401, "unauthenticated");
}

#[tokio::test]
async fn the_word_of_a_proxy_counts_where_it_is_listed_and_a_token_goes_before_it() {
    let from = |address: &str| {
        let from = vec![address.parse().unwrap()];
        let user_header = "x-remote-user".parse().unwrap();
        move |settings: &mut berth_server::Settings| {
            settings.proxy = Some(berth_server::Proxy { user_header, from, secret: "sesame".into() });
        }
    };
    let believed = "X-Remote-User: ada\r\nBerth-Proxy-Secret: sesame\r\n";
    let server = Running::start_with(from("127.0.0.1")).await;
    assert_eq!(server.raw_tcp(request("GET", "/v1/info", believed, "")).await.json()["user"], "ada");
    let with_token = format!("{believed}Authorization: Bearer wrong\r\n");
    server.raw_tcp(request("GET", "/v1/info", &with_token, "")).await.refusal(401, "unauthenticated");
    let ours = server.raw(request("GET", "/v1/info", believed, "")).await.json()["user"].to_string();
    assert!(ours.contains("uid"), "on the socket the kernel says who it is: {ours}");
    for doubtful in ["X-Remote-User: ada\r\n", "X-Remote-User: ada\r\nBerth-Proxy-Secret: wrong\r\n"] {
        server.raw_tcp(request("GET", "/v1/info", doubtful, "")).await.refusal(401, "unauthenticated");
    }
    for elsewhere in [Running::start_with(from("127.0.0.2")).await, Running::start().await] {
        elsewhere.raw_tcp(request("GET", "/v1/info", believed, "")).await.refusal(401, "unauthenticated");
    }
}

/// Whatever is added later is looked at, too.
#[tokio::test]
async fn who_is_barred_sees_who_they_are_and_nothing_else() {
    let server = Running::start().await;
    let new = NewToken {
        label: "barred".into(),
        scope: "submit".into(),
        expires_in: None,
        user: Some("gil".into()),
    };
    let token = server.client().await.create_token(&new).await.unwrap().token;
    let header = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let info = server.raw_tcp(request("GET", "/v1/info", &header, "")).await.json();
    assert_eq!((&info["user"], &info["barred"]), (&"gil".into(), &"somebody has to let you in".into()));
    let openapi = serde_json::to_value(berth_server::openapi()).unwrap();
    let open = ["/v1/info", "/v1/openapi.json", "/healthz"];
    let mut looked_at = 0;
    for (path, item) in openapi["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|method| *method != "parameters") {
            let signs_in = (method.as_str(), path.as_str()) == ("post", "/v1/session");
            if open.contains(&path.as_str()) || signs_in {
                continue;
            }
            let path = path.replace("{job}", "1").replace("{kind}", "user").replace("{path}", "a");
            let path = path
                .replace("{name}", "x")
                .replace("{user}", "x")
                .replace("{id}", "1")
                .replace("{plugin}", "x");
            let answer = server.raw_tcp(request(&method.to_uppercase(), &path, &header, "")).await;
            let words = answer.refusal(403, "forbidden");
            assert!(words.contains("somebody has to let you in"), "{method} {path}: {words}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 30, "{looked_at}");
}
