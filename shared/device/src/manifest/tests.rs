use proptest::prelude::*;

use super::*;

/// The guide's sample with its brackets filled in: no blank behind colons, so it is no YAML.
const GUIDE: &str = "\
manifestVersion:2.0
generator:Text editor
deviceId:49382
fileSystem:EXT4
logBucket:export-logs
logPrefix:logs/
notificationEmail:john.doe@example.com;jane.roe@example.com
trueCryptPassword:correct horse battery
operations:
    - exportBucket:photos
      prefix:2010/
    - exportBucket:videos
targetDirectory:/
returnAddress:
    name:John Doe
    street1:123 Any Street
    city:Anytown
    stateOrProvince:WA
    postalCode:01234
    country:USA
    phoneNumber:206-555-1000
customs:
    dataDescription:backup
    encryptedData:yes
    encryptionClassification:5D992
    exportCertifierName:John Doe
    requiresExportLicense:no
    deviceValue:250.00
    deviceCountryOfOrigin:NO
    deviceType:externalStorageDevice
    typeOfExport:return
";

fn parse(text: &str) -> Parsed {
    Manifest::parse(text.as_bytes(), Strictness::Forgiving)
}

fn manifest(text: &str) -> Manifest {
    let parsed = parse(text);
    parsed.manifest.unwrap_or_else(|| panic!("{:#?}", parsed.problems))
}

fn minimal(lines: &str) -> String {
    format!(
        "manifestVersion: 2.0\ndeviceId: D\nlogBucket: logs\nfileSystem: EXT4\ntrueCryptPassword: secret\n\
         operations:\n  - exportBucket: photos\n{lines}"
    )
}

#[test]
fn the_guides_sample_runs_unchanged_although_it_is_not_yaml() {
    let parsed = parse(GUIDE);
    assert_eq!(parsed.problems, []);
    let manifest = parsed.manifest.expect("manifest");
    assert_eq!((manifest.device_id.as_str(), manifest.version.as_str()), ("49382", "2.0"));
    assert_eq!(manifest.password.as_ref().expect("password").reveal(), "correct horse battery");
    assert_eq!(manifest.notification_emails, ["john.doe@example.com", "jane.roe@example.com"]);
    assert_eq!(manifest.operations.len(), 2);
    assert_eq!(manifest.operations[0].prefix, "2010/");
    assert_eq!(manifest.operations[0].base(&manifest), "photos");
    let customs = manifest.customs.expect("customs");
    assert_eq!(customs.device_country_of_origin.as_deref(), Some("NO"));
    assert_eq!(customs.encrypted_data, Some(true));
    assert_eq!(manifest.return_address.expect("address").postal_code.as_deref(), Some("01234"));
    assert_eq!(parse(&GUIDE.replace('\n', "\r\n")).problems, []);
}

#[test]
fn scalars_stay_the_text_they_were() {
    let manifest = manifest(&minimal("").replace("deviceId: D", "deviceId: 0049382"));
    assert_eq!(manifest.device_id, "0049382");
    for word in ["NO", "1e3", "0x1F", "null", "~", "2010-06-03", "true"] {
        let text = minimal("").replace("deviceId: D", &format!("deviceId: {word}"));
        assert_eq!(super::tests::manifest(&text).device_id, word);
    }
}

#[test]
fn every_problem_is_told_at_once_each_with_its_place() {
    let parsed = parse(
        "manifestVersion: 7\ndeviceId: [serial number]\nfileSystem: FAT32\nlogBucket: s3://logs/a\n\
         colour: red\nx-containr: luks2\noperations:\n  - prefix: a\n  - exportBucket: b\ncustoms:\n  deviceValue: dear\n",
    );
    assert!(parsed.manifest.is_none());
    let told: Vec<(&str, &str, u32, u32)> = parsed
        .problems
        .iter()
        .map(|p| (p.code.as_str(), p.option.as_str(), p.place.line, p.place.column))
        .collect();
    assert_eq!(
        told,
        [
            ("MissingManifestField", "trueCryptPassword", 1, 1),
            ("InvalidManifestField", "returnAddress", 1, 1),
            ("InvalidManifestField", "manifestVersion", 1, 18),
            ("InvalidManifestField", "deviceId", 2, 11),
            ("InvalidFileSystem", "fileSystem", 3, 13),
            ("InvalidManifestField", "logBucket", 4, 12),
            ("InvalidManifestField", "colour", 5, 1),
            ("InvalidManifestField", "x-containr", 6, 1),
            ("MissingManifestField", "operations[0].exportBucket", 8, 5),
            ("InvalidCustoms", "customs.deviceValue", 11, 16),
        ]
    );
    assert!(parsed.problems.iter().all(|problem| !problem.action.is_empty()));
    let placeholder = parsed.problems.iter().find(|p| p.option == "deviceId").expect("deviceId");
    assert!(placeholder.message.contains("placeholder"), "{placeholder}");
}

#[test]
fn a_place_is_that_of_the_text_as_it_was_given() {
    let parsed = parse("manifestVersion:7\n");
    let problem = parsed.problems.iter().find(|p| p.option == "manifestVersion").expect("problem");
    assert_eq!(problem.place, Place { line: 1, column: 17 });
}

#[test]
fn markers_are_exclusive_at_the_beginning_and_inclusive_at_the_end() {
    let operation =
        Operation { begin_marker: Some("b".into()), end_marker: Some("xena".into()), ..Operation::default() };
    for (key, selected) in
        [("a", false), ("b", false), ("b0", true), ("xena", true), ("xena/1", false), ("xenb", false)]
    {
        assert_eq!(operation.selects(key), selected, "{key}");
    }
}

#[test]
fn an_operation_that_can_match_nothing_is_legal_and_warned_of() {
    let warned = |lines: &str| {
        let parsed = parse(&minimal(lines));
        assert!(parsed.manifest.is_some());
        parsed.problems.iter().any(|problem| problem.message.contains("no key matches"))
    };
    assert!(warned("    prefix: image\n    endMarker: foo\n"));
    assert!(warned("    beginMarker: z\n    endMarker: a\n"));
    assert!(warned("    prefix: a\n    beginMarker: b\n"));
    assert!(!warned("    prefix: image\n    endMarker: image9\n"));
    assert!(!warned("    prefix: b\n    beginMarker: a\n"));
}

#[test]
fn an_import_is_told_that_this_is_not_its_place() {
    let parsed = parse("manifestVersion: 2.0\nbucket: b\neraseDevice: yes\ndeviceId: d\n");
    assert!(parsed.problems.iter().any(|problem| problem.message.contains("import")), "{parsed:?}");
}

#[test]
fn passwords_are_shown_nowhere() {
    let text = minimal("").replace("secret", "hunter2 # more");
    let parsed = parse(&text);
    assert!(!format!("{parsed:?}").contains("hunter2"));
    assert!(parsed.warnings().any(|warning| warning.option == "trueCryptPassword"));
    for text in [
        text,
        GUIDE.replace("correct horse battery", "hunter2"),
        minimal("").replace("secret", "|\n    hunter2\n    hunter2 again"),
        minimal("").replace("trueCryptPassword: secret", "\"trueCryptPassword\": hunter2"),
        minimal("trueCryptPassword: hunter2\n"),
        minimal("returnAddress:\n    trueCryptPassword: hunter2\n"),
        minimal("# trueCryptPassword: hunter2\n"),
        minimal("customs: {pinCode: hunter2}\n"),
        minimal("truecryptPassword: hunter2\n"),
        minimal("returnAddress: {name: x, trueCryptPassword: hunter2}\n"),
    ] {
        let shown = redacted(text.as_bytes());
        assert!(!shown.contains("hunter2") && !shown.contains("more"), "{shown}");
    }
    let shown = redacted(GUIDE.as_bytes());
    assert!(shown.contains("trueCryptPassword: \"********\"\n"), "{shown}");
    assert_eq!(shown.lines().count(), GUIDE.lines().count());
    let of_stars = manifest(&shown);
    assert_eq!(of_stars.password.expect("stars").reveal(), REDACTED);
}

#[test]
fn a_manifest_without_its_password_is_the_same_manifest() {
    let json = r#"{"manifestVersion": "2.0", "deviceId": "d", "logBucket": "logs", "fileSystem": "EXT4", "trueCryptPassword": "hunter2", "x-container": "luks2", "operations": [{"exportBucket": "b", "prefix": "p: \"x\""}]}"#;
    for text in [json.to_owned(), json.replace(", ", ",\n"), minimal(""), GUIDE.to_owned()] {
        let shown = redacted(text.as_bytes());
        assert!(!shown.contains("hunter2"), "{shown}");
        let wanted = Manifest { password: Some(Password::new(REDACTED.to_owned())), ..manifest(&text) };
        assert_eq!(manifest(&shown), wanted, "{shown}");
    }
}

#[test]
fn an_option_left_blank_is_not_there() {
    let blank = minimal(
        "    prefix:\n    beginMarker:\n    endMarker:\nlogPrefix:\ntargetDirectory:\nrecoveryDirectory:\ngenerator: # none\nx-store:\n",
    );
    let (read, without) = (manifest(&blank), manifest(&minimal("")));
    assert_eq!(read, without);
    assert_eq!(manifest(&minimal("    prefix: ~\n")).operations[0].prefix, "~", "what is written is meant");
    for required in ["deviceId: D", "trueCryptPassword: secret", "logBucket: logs", "exportBucket: photos"] {
        let (option, _) = required.split_once(':').expect("an option");
        let parsed = parse(&minimal("").replace(required, &format!("{option}:")));
        assert!(parsed.manifest.is_none(), "{option}");
        assert!(
            parsed.errors().any(|error| error.option.ends_with(option)),
            "{option}: {:?}",
            parsed.problems
        );
    }
}

#[test]
fn a_password_is_one_line() {
    for (text, words) in
        [("|\n    hunter2", "one line"), ("\"a\\nb\"", "one line"), ("&a hunter2", "for a name")]
    {
        let parsed = parse(&minimal("x-container: luks2\n").replace("secret", text));
        assert!(parsed.manifest.is_none(), "{text}");
        assert!(parsed.errors().any(|error| error.message.contains(words)), "{text}: {:?}", parsed.problems);
    }
}

#[test]
fn directories_that_the_medium_cannot_have_are_refused_before_anything_is_listed() {
    for good in ["recoveryDirectory: EXPORT-RECOVERY\n", "targetDirectory: /\n", "targetDirectory: a/b c\n"] {
        assert!(parse(&minimal(good)).manifest.is_some(), "{good}");
    }
    for bad in [
        "recoveryDirectory: .export\n",
        "recoveryDirectory: a/b\n",
        "targetDirectory: backup/../x\n",
        "targetDirectory: EXPORT-RECOVERY\n",
        "recoveryDirectory: mine\ntargetDirectory: mine/x\n",
        "targetDirectory: SIGNATURE\n",
    ] {
        let parsed = parse(&minimal(bad));
        assert!(
            parsed.errors().any(|error| error.option.ends_with("Directory")),
            "{bad}: {:?}",
            parsed.problems
        );
    }
}

#[test]
fn replacements_are_pairs_and_a_bucket_is_not_the_recovery_directory() {
    for (bad, option) in
        [("substitutions: ':=_'\n", "substitutions"), ("recoveryDirectory: photos\n", "exportBucket")]
    {
        let parsed = parse(&minimal(bad).replace("exportBucket: b", "exportBucket: photos"));
        assert!(parsed.errors().any(|error| error.option.ends_with(option)), "{bad}: {:?}", parsed.problems);
    }
}

#[test]
fn no_password_is_needed_for_files_in_the_clear_and_only_for_them() {
    let clear = minimal("x-container: none\n").replace("trueCryptPassword: secret\n", "");
    assert_eq!(manifest(&clear).password, None);
    let parsed = parse(&minimal("").replace("trueCryptPassword: secret\n", ""));
    assert!(parsed.errors().any(|error| error.option == "trueCryptPassword"));
}

#[test]
fn a_truecrypt_password_has_at_most_64_bytes() {
    let long = "x".repeat(65);
    let text = minimal("x-container: truecrypt\n").replace("secret", &long);
    let parsed = parse(&text);
    assert!(parsed.errors().any(|error| error.message.contains("64") && !error.message.contains(&long)));
    assert!(parse(&minimal("").replace("secret", &"x".repeat(128))).manifest.is_some());
    assert!(parse(&minimal("").replace("secret", &"x".repeat(129))).manifest.is_none());
}

#[test]
fn duplicates_second_documents_and_references_are_refused() {
    for (text, words) in [
        (minimal("deviceId: again\n"), "second time"),
        (format!("{}---\na: b\n", minimal("")), "second manifest"),
        (minimal("generator: *x\n"), "quotes"),
        (minimal("generator: !x y\n"), "!"),
        ("- a\n- b\n".to_owned(), "no options"),
        (String::new(), "empty"),
    ] {
        let parsed = parse(&text);
        assert!(parsed.manifest.is_none(), "{text}");
        assert!(
            parsed.errors().any(|e| e.to_string().contains(words) || e.action.contains(words)),
            "{text}: {:?}",
            parsed.problems
        );
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let parsed = Manifest::parse(b"manifestVersion: 2.0\nd\xff", Strictness::Forgiving);
    assert_eq!(parsed.problems[0].place, Place { line: 2, column: 2 });
}

#[test]
fn a_return_address_is_required_only_where_that_is_asked_for() {
    let parsed = Manifest::parse(minimal("").as_bytes(), Strictness::Strict);
    assert!(parsed.errors().any(|error| error.option == "returnAddress"));
    let short = minimal("returnAddress:\n    name: Jo\n");
    let parsed = Manifest::parse(short.as_bytes(), Strictness::Strict);
    assert!(parsed.errors().any(|error| error.code == Code::InvalidAddress));
    assert!(parse(&short).manifest.is_some());
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{1,12}", "\\PC{1,8}", Just("NO".to_owned()), Just("0012".to_owned())]
        .prop_filter("an option without a value", |text| !text.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn reading_never_panics_and_every_problem_has_a_place(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let parsed = Manifest::parse(&bytes, Strictness::Forgiving);
        prop_assert_eq!(parsed.manifest.is_some(), parsed.errors().next().is_none());
        prop_assert!(parsed.problems.iter().all(|p| p.place.line > 0 && p.place.column > 0));
        redacted(&bytes);
    }

    #[test]
    fn a_manifest_with_damage_is_read_or_complained_of(at in 0..GUIDE.len(), with in "\\PC{0,3}|\n|:|\\[|\t|- ") {
        let text = format!("{}{with}{}", &GUIDE[..at], &GUIDE[at..]);
        let parsed = parse(&text);
        prop_assert_eq!(parsed.manifest.is_some(), parsed.errors().next().is_none());
        let lines = u32::try_from(text.lines().count() + 1).expect("lines");
        prop_assert!(parsed.problems.iter().all(|p| (1..=lines).contains(&p.place.line)));
    }

    #[test]
    fn what_is_written_reads_back(
        device in any_text(), password in any_text(), prefix in any_text(), begin in any_text(),
        from in any_text(), to in any_text(),
    ) {
        let base = manifest(GUIDE);
        let wanted = Manifest {
            device_id: device,
            generator: None,
            password: Some(Password::new(password.clone())),
            substitutions: vec![(from, to)],
            operations: vec![Operation {
                export_bucket: "photos".into(),
                prefix,
                begin_marker: Some(begin),
                end_marker: None,
                target_directory: None,
            }],
            ..base
        };
        let text = wanted.to_text(Some(&password));
        let parsed = parse(&text);
        prop_assert_eq!(parsed.manifest, Some(wanted), "{}\n{:?}", text, parsed.problems);
    }
}
