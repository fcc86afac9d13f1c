//! From the parts of a question to the text of a filter (RFC 4515), which is the only place where it is made.

use std::fmt::Write;

use super::{Failure, Question, Test};

/// Bounds on what a policy may ask.
const MOST_TESTS: usize = 1000;
const MOST_BYTES: usize = 64 << 10;

/// The filter, once the question is found to be one that can be asked.
pub(super) fn filter(question: &Question) -> Result<String, Failure> {
    let refused = |words: String| Err(Failure::Refused(words));
    if question.clauses.iter().map(Vec::len).sum::<usize>() > MOST_TESTS {
        return refused(format!("there are more than {MOST_TESTS} tests in the question"));
    }
    if question.base.len() > MOST_BYTES || question.base.contains('\0') {
        return refused("the place to begin at is no distinguished name".to_owned());
    }
    let tests = question.clauses.iter().flatten();
    let named = tests.map(|test| &test.attribute).chain(&question.attributes);
    if let Some(odd) = named.into_iter().find(|name| !is_attribute(name)) {
        return refused(format!("{odd:?} is not the name of an attribute"));
    }
    let mut filter = "(&".to_owned();
    for clause in &question.clauses {
        filter.push_str("(|");
        clause.iter().for_each(|test| push(&mut filter, test));
        filter.push(')');
        if filter.len() > MOST_BYTES {
            return refused(format!("the question is longer than {MOST_BYTES} bytes"));
        }
    }
    filter.push(')');
    // Without a clause everything is wanted, and every entry has a class.
    Ok(if question.clauses.is_empty() { "(objectClass=*)".to_owned() } else { filter })
}

/// A name or a number with dots, as RFC 4512 has them, with options behind semicolons.
fn is_attribute(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';');
    (1..=100).contains(&name.len()) && name.chars().all(plain) && !name.starts_with(['-', '.', ';'])
}

fn push(filter: &mut String, test: &Test) {
    let (open, close) = if test.negated { ("(!(", "))") } else { ("(", ")") };
    filter.push_str(open);
    filter.push_str(&test.attribute);
    filter.push('=');
    match &test.value {
        None => filter.push('*'),
        Some(value) => push_escaped(filter, value),
    }
    filter.push_str(close);
}

/// Everything but letters and digits goes as a number: there is nothing then that could be forgotten.
fn push_escaped(filter: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() {
            filter.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(filter, "\\{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Scope, *};

    fn test(attribute: &str, value: Option<&str>) -> Test {
        Test { attribute: attribute.to_owned(), value: value.map(str::to_owned), negated: false }
    }

    fn question(clauses: Vec<Vec<Test>>) -> Question {
        Question { base: "dc=example".to_owned(), scope: Scope::Subtree, clauses, attributes: vec![] }
    }

    #[test]
    fn all_clauses_have_to_hold_and_any_test_of_each() {
        let negated = Test { negated: true, ..test("shell", Some("no")) };
        let asked =
            question(vec![vec![test("uid", Some("ann"))], vec![test("objectClass", None), negated.clone()]]);
        assert_eq!(filter(&asked).unwrap(), "(&(|(uid=ann))(|(objectClass=*)(!(shell=no))))");
        assert_eq!(filter(&question(vec![])).unwrap(), "(objectClass=*)");
    }

    #[test]
    fn no_character_of_a_value_has_a_meaning() {
        let asked = question(vec![vec![test("uid", Some("*)(uid=*\0é"))]]);
        assert_eq!(filter(&asked).unwrap(), r"(&(|(uid=\2a\29\28uid\3d\2a\00\c3\a9)))");
    }

    #[test]
    fn what_is_no_name_of_an_attribute_is_refused() {
        for name in ["", "uid)(a", "uid=*", "-a", "a b", "ü", "a\0"] {
            let refused = filter(&question(vec![vec![test(name, None)]])).unwrap_err();
            assert_eq!(refused, Failure::Refused(format!("{name:?} is not the name of an attribute")));
        }
        assert!(filter(&question(vec![vec![test("2.5.4.3;lang-de", None)]])).is_ok());
    }

    #[test]
    fn a_question_without_end_is_refused() {
        let long = "x".repeat(MOST_BYTES + 1);
        for asked in [
            question(vec![vec![test("uid", None); MOST_TESTS + 1]]),
            question(vec![vec![test("uid", Some(&long))]]),
            Question { base: long.clone(), ..question(vec![]) },
            Question { base: "dc=a\0".to_owned(), ..question(vec![]) },
        ] {
            assert!(matches!(filter(&asked), Err(Failure::Refused(_))));
        }
    }

    proptest! {
        /// What is between the brackets stays there.
        #[test]
        fn a_filter_has_the_shape_that_was_asked_for(value in any::<String>()) {
            let text = filter(&question(vec![vec![test("uid", Some(&value))]])).unwrap();
            let inner = text.strip_prefix("(&(|(uid=").and_then(|rest| rest.strip_suffix(")))")).unwrap();
            prop_assert!(inner.chars().all(|c| c.is_ascii_alphanumeric() || c == '\\'));
            prop_assert!(ldap3::parse_filter(&text).is_ok());
        }
    }
}
