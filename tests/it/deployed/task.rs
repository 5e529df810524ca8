//! `ferry task`: what it writes where the functions look, and what it refuses.

use ferry_transfer::Queue as _;
use ferry_transfer::job::Message;
use serde_json::Value;

use super::Deployment;

#[tokio::test]
async fn a_task_is_put_with_its_stores_and_schedule_listed_paused_and_deleted() {
    let deployed = Deployment::start().await;
    let [task, config] = deployed.write_files(deployed.pair.directory());
    let put = |schedule: &'static [&'static str]| {
        let args =
            ["task", "put", &task, "--config", &config, "--json"].into_iter().chain(schedule.iter().copied());
        deployed.ferry(args)
    };
    let report = put(&["--schedule", "rate(1 hour)"]).run().await.expect_code(0).report();
    assert_eq!((&report["version"], &report["schedule"]), (&1.into(), &"rate(1 hour)".into()), "{report}");
    assert_eq!(report["stores"], serde_json::json!(["harbour", "island"]));
    let text = deployed.control.parameter("/ferry/tasks/photos").expect("a parameter");
    assert!(text.value.starts_with("# moved every night"), "it stays as it was written: {}", text.value);
    assert!(deployed.control.parameter("/ferry/stores/harbour").is_some());
    let schedule = deployed.control.schedule("ferry-tasks", "photos").expect("a schedule");
    assert_eq!(schedule["Target"]["Input"], r#"{"task":"photos"}"#);
    assert_eq!(schedule["State"], "ENABLED");

    // Once more: another version, the same schedule, and stores that are known already.
    let again = put(&[]).run().await.expect_code(0).report();
    assert_eq!((&again["version"], &again["schedule"]), (&2.into(), &"rate(1 hour)".into()), "{again}");
    assert_eq!(again["stores"], serde_json::json!([]));

    for (word, state) in [("pause", "DISABLED"), ("resume", "ENABLED"), ("pause", "DISABLED")] {
        deployed.ferry(["task", word, "photos"]).run().await.expect_code(0);
        let schedule = deployed.control.schedule("ferry-tasks", "photos").expect("a schedule");
        assert_eq!(
            (&schedule["State"], &schedule["ScheduleExpression"]),
            (&state.into(), &"rate(1 hour)".into())
        );
    }
    let paused = put(&["--schedule", "cron(0 2 * * ? *)", "--timezone", "Asia/Shanghai"])
        .run()
        .await
        .expect_code(0)
        .report();
    assert_eq!(
        paused["schedule"], "cron(0 2 * * ? *) Asia/Shanghai, paused",
        "another text does not wake it"
    );

    let listed = deployed.ferry(["task", "list", "--json"]).run().await.expect_code(0).lines();
    assert_eq!(
        (listed.len(), &listed[0]["task"], &listed[0]["version"]),
        (1, &"photos".into(), &3.into()),
        "{listed:?}"
    );
    let got = deployed.ferry(["task", "get", "photos", "--json"]).run().await.expect_code(0).report();
    assert_eq!(got["source"]["bucket"], "docks");

    let text = std::fs::read_to_string(&task).expect("task");
    std::fs::write(&task, format!("{text}schedule: rate(2 days)\n")).expect("written");
    assert_eq!(
        put(&[]).run().await.expect_code(0).report()["schedule"],
        "rate(2 days), paused",
        "the document's own"
    );
    put(&["--schedule", "every hour"]).run().await.expect_refusal(&["--schedule"]);

    deployed.ferry(["task", "delete", "photos"]).run().await.expect_code(0);
    assert!(deployed.control.parameter("/ferry/tasks/photos").is_none());
    assert!(deployed.control.schedule("ferry-tasks", "photos").is_none());
    for args in [
        ["task", "delete", "photos"],
        ["task", "get", "photos"],
        ["task", "run", "photos"],
        ["task", "pause", "photos"],
    ] {
        deployed.ferry(args).run().await.expect_refusal(&["there is no task \"photos\""]);
    }
}

#[tokio::test]
async fn many_tasks_are_listed_page_by_page() {
    let deployed = Deployment::start().await;
    for number in 0..23 {
        deployed.control.put_parameter(&format!("/ferry/tasks/t{number:02}"), "name: [");
    }
    let listed = deployed.ferry(["task", "list", "--json"]).run().await.expect_code(0).lines();
    assert_eq!(listed.len(), 23);
    assert!(
        listed.iter().all(|line| line["error"].is_string()),
        "what the functions cannot read is said: {listed:?}"
    );
}

#[tokio::test]
async fn what_the_functions_would_not_understand_is_refused_before_anything_is_written() {
    let deployed = Deployment::start().await;
    let [task, config] = deployed.write_files(deployed.pair.directory());
    let good = std::fs::read_to_string(&task).expect("task");
    let local = "stores: {harbour: {endpoint: 'http://h', credentials: 'env:HARBOUR'}, island: {endpoint: 'http://h', credentials: anonymous}}";
    std::fs::write(deployed.pair.directory().join("local.yaml"), local).expect("written");
    for (text, config, words) in [
        (good.replace("name:", "nme:"), config.as_str(), "nme"),
        (good.replace("name: photos", "name: my photos"), &config, "my photos"),
        (format!("{good}version: 9\n"), &config, "version 9"),
        (format!("{good}keys: {{list: {{from: keys.txt}}}}\n"), &config, "a function has no files"),
        (good.replace("store: harbour", "store: attic"), &config, "there is no store \"attic\""),
        (good.clone(), "local.yaml", "ssm:/ferry/credentials/harbour"),
    ] {
        std::fs::write(&task, text).expect("written");
        deployed.ferry(["task", "put", &task, "--config", config]).run().await.expect_refusal(&[words]);
    }
    assert!(deployed.control.parameter("/ferry/tasks/photos").is_none());
    assert!(deployed.control.parameter("/ferry/stores/island").is_none());
    let ended = deployed.ferry(["task", "list", "--path", "/elsewhere"]).run().await;
    ended.expect_refusal(&["/elsewhere/deployment"]);
}

#[tokio::test]
async fn a_run_is_a_scan_of_every_name_on_the_queue() {
    let deployed = Deployment::start().await;
    let [task, config] = deployed.write_files(deployed.pair.directory());
    deployed.ferry(["task", "put", &task, "--config", &config]).run().await.expect_code(0);
    let report = deployed.ferry(["task", "run", "photos", "--json"]).run().await.expect_code(0).report();
    let hidden = std::time::Duration::from_mins(1);
    let scans =
        deployed.sqs.queue("scans").receive(10, std::time::Duration::ZERO, hidden).await.expect("received");
    let Ok(Message::Scan(scan)) = Message::parse(&scans[0].body) else { panic!("{scans:?}") };
    assert_eq!((scan.task.as_deref(), scan.run.as_deref()), (Some("photos"), report["run"].as_str()));
    assert_eq!(scan.range, ferry_transfer::KeyRange::ALL);
}

#[tokio::test]
async fn a_task_of_data_transfer_hub_becomes_two_files_that_can_be_put() {
    let deployed = Deployment::start().await;
    let directory = deployed.pair.directory();
    let dth = "srcType: Amazon_S3\nsrcEndpoint: http://127.0.0.1:1\nsrcBucket: docks\nsrcCredential: harbour\n\
               srcPrefixList: list.txt\ndestBucket: beach\ndestRegion: us-west-2\noptions: {finderDepth: 3}\n";
    std::fs::write(directory.join("list.txt"), "2010/\r\n2011/\r\n").expect("written");
    std::fs::write(directory.join("dth.yaml"), dth).expect("written");
    std::fs::create_dir(directory.join("out")).expect("made");
    let args = ["dth.yaml", "--prefix-list", "list.txt", "--name", "docks", "--out", "out"];
    let import = || deployed.ferry(["task", "import-dth"]).args(args);
    import().run().await.expect_code(0);
    import().run().await.expect_refusal(&["nothing is overwritten"]);
    let put = deployed.ferry(["task", "put", "out/docks.yaml", "--config", "out/ferry.yaml"]).run().await;
    put.expect_code(0);
    let store: Value =
        serde_json::from_str(&deployed.control.parameter("/ferry/stores/source").expect("a store").value)
            .expect("JSON");
    assert_eq!(store["credentials"], "ssm:/ferry/credentials/harbour");
    let task: ferry_transfer::task::Task = ferry_cloud::lambda::parse(
        "docks",
        &deployed.control.parameter("/ferry/tasks/docks").expect("a task").value,
    )
    .expect("a task");
    assert!(task.keys.covers("2010/a") && !task.keys.covers("2012/a"), "{task:?}");
}
