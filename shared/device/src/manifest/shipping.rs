//! Where a device goes and what customs are told of it.
//!
//! Owns: the blocks `returnAddress` and `customs`. Invariant: since nothing is shipped, what is missing of them is an error only where that is asked for.

use super::block::{Block, Text};
use super::problem::Code;
use super::read::choice;
use super::{Address, Customs, Strictness};

pub(super) fn address(mut block: Block<'_>, strictness: Strictness) -> Address {
    let problems = block.problems;
    let place = block.place;
    let mut part = |name: &str| block.optional(name).map(|text| text.value);
    let address = Address {
        name: part("name"),
        company: part("company"),
        street1: part("street1"),
        street2: part("street2"),
        street3: part("street3"),
        city: part("city"),
        state_or_province: part("stateOrProvince"),
        postal_code: part("postalCode"),
        country: part("country"),
        phone_number: part("phoneNumber"),
    };
    block.finish();
    let needs_state = address.country.as_deref().is_some_and(|country| {
        ["USA", "US", "United States", "Canada", "CA"].iter().any(|name| country.eq_ignore_ascii_case(name))
    });
    for (name, is_missing) in [
        ("name", address.name.is_none()),
        ("street1", address.street1.is_none()),
        ("city", address.city.is_none()),
        ("stateOrProvince", needs_state && address.state_or_province.is_none()),
        ("postalCode", address.postal_code.is_none()),
        ("country", address.country.is_none()),
        ("phoneNumber", address.phone_number.is_none()),
    ] {
        if is_missing {
            let option = format!("returnAddress.{name}");
            match strictness {
                Strictness::Strict => {
                    let message = "the return address lacks this part";
                    problems.error(Code::InvalidAddress, &option, place, message, "Add it");
                }
                Strictness::Forgiving => {
                    let message =
                        "the return address lacks this part; nothing is shipped, so none is needed here";
                    problems.warn(&option, place, message, "Add it if the device will travel");
                }
            }
        }
    }
    address
}

pub(super) fn customs(mut block: Block<'_>) -> Customs {
    let problems = block.problems;
    let yes_or_no = [("yes", true), ("no", false), ("true", true), ("false", false)];
    let place = block.place;
    let (encrypted, licence) = (block.optional("encryptedData"), block.optional("requiresExportLicense"));
    let value = block.optional("deviceValue");
    let truth = |text: &Option<Text>| {
        text.as_ref().and_then(|text| choice(problems, Code::InvalidCustoms, text, &yes_or_no))
    };
    let (encrypted_data, requires_export_license) = (truth(&encrypted), truth(&licence));
    if let Some(text) = &value
        && !is_decimal(&text.value)
    {
        let message = format!("{:?} is no amount of US dollars", text.value);
        problems.error(Code::InvalidCustoms, &text.option, text.place, message, "Write a decimal number");
    }
    let mut part = |name: &str| block.optional(name).map(|text| text.value);
    let customs = Customs {
        data_description: part("dataDescription"),
        encrypted_data,
        encryption_classification: part("encryptionClassification"),
        export_certifier_name: part("exportCertifierName"),
        requires_export_license,
        device_value: value.map(|text| text.value),
        device_country_of_origin: part("deviceCountryOfOrigin"),
        device_type: part("deviceType"),
        type_of_export: part("typeOfExport"),
        device_hts: part("deviceHTS"),
    };
    block.finish();
    if customs.encrypted_data == Some(true) && customs.encryption_classification.is_none() {
        let message = "encrypted data crosses a border with a classification";
        let action = "Add it, 5D992 for instance";
        problems.warn("customs.encryptionClassification", place, message, action);
    }
    customs
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('$').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    are_digits(whole) && are_digits(part)
}
