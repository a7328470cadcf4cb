//! The forms that a text of a policy may have to have: names, ARNs, S3 URIs. Each is one entry
//! with the words for people, the pattern for editors and the check that decides. Patterns are
//! those of the SageMaker API reference where it has one.

/// A form of text.
pub(super) struct Form {
    /// The `format` that the schema says.
    pub(super) name: &'static str,
    /// What it should be, for a person.
    pub(super) rule: &'static str,
    /// The same as a regular expression, for editors.
    pub(super) pattern: &'static str,
    /// The fewest and the most bytes.
    pub(super) length: (usize, usize),
    check: fn(&str) -> bool,
}

impl Form {
    /// The form of that name.
    pub(super) fn named(name: &str) -> Option<&'static Form> {
        FORMS.iter().find(|form| form.name == name)
    }

    /// Whether `text` has it, length included.
    pub(super) fn fits(&self, text: &str) -> bool {
        (self.length.0..=self.length.1).contains(&text.len()) && (self.check)(text)
    }
}

/// `tagKeyType` and `tagValueType` of the IAM API reference.
fn is_of_tag(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c)
}

/// All forms.
pub(super) const FORMS: &[Form] = &[
    Form {
        name: "aws-name",
        rule: "1 to 63 letters, digits and hyphens, with no hyphen at either end",
        pattern: "^[a-zA-Z0-9](-*[a-zA-Z0-9])*$",
        length: (1, 63),
        check: |text| name_characters(text) && !text.ends_with('-'),
    },
    Form {
        name: "name-prefix",
        rule: "1 to 63 letters, digits and hyphens, with no hyphen at the start",
        pattern: "^[a-zA-Z0-9][a-zA-Z0-9-]*$",
        length: (1, 63),
        check: name_characters,
    },
    Form {
        name: "clone-prefix",
        rule: "1 to 40 letters, digits and hyphens, with no hyphen at the start; the rest of a \
               job's name follows it",
        pattern: "^[a-zA-Z0-9][a-zA-Z0-9-]*$",
        length: (1, 40),
        check: name_characters,
    },
    Form {
        // Of 32 characters: a hyphen and 12 digits follow.
        name: "tuning-prefix",
        rule: "1 to 19 letters, digits and hyphens, with no hyphen at the start; the rest of a \
               tuning job's name follows it",
        pattern: "^[a-zA-Z0-9][a-zA-Z0-9-]*$",
        length: (1, 19),
        check: name_characters,
    },
    Form {
        name: "tuning-name",
        rule: "1 to 32 letters, digits and hyphens, with no hyphen at either end",
        pattern: "^[a-zA-Z0-9](-*[a-zA-Z0-9])*$",
        length: (1, 32),
        check: |text| name_characters(text) && !text.ends_with('-'),
    },
    Form {
        name: "tag",
        rule: "key=value, the key of 1 to 128 characters, the value of up to 256",
        pattern: "^[^=]{1,128}=.{0,256}$",
        length: (2, 385),
        check: |text| {
            text.split_once('=').is_some_and(|(key, value)| {
                (1..=128).contains(&key.len()) && value.len() <= 256 && !value.contains('\n')
            })
        },
    },
    Form {
        name: "tag-key",
        rule: "a tag's key in IAM: 1 to 128 letters, digits, blanks and _.:/=+-@",
        pattern: "^[\\p{L}\\p{N} _.:/=+@-]+$",
        length: (1, 128),
        check: |text| !text.is_empty() && text.chars().all(is_of_tag),
    },
    Form {
        name: "tag-value",
        rule: "a tag's value in IAM, word for word (`*` stands for nothing here): up to 256 letters, \
               digits, blanks and _.:/=+-@",
        pattern: "^[\\p{L}\\p{N} _.:/=+@-]*$",
        length: (0, 256),
        check: |text| text.chars().all(is_of_tag),
    },
    Form {
        name: "s3-uri",
        rule: "s3://bucket/key, at most 1,024 characters, the bucket of 3 to 63 in lower case",
        pattern: "^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\\s]+$",
        length: (9, 1024),
        check: is_s3_uri,
    },
    Form {
        name: "s3-folder",
        rule: "s3://bucket/prefix, at most 512 characters, the bucket of 3 to 63 in lower case",
        pattern: "^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\\s]+$",
        length: (9, 512),
        check: is_s3_uri,
    },
    Form {
        name: "kms-key",
        rule: "the id, ARN or alias of a KMS key",
        pattern: "^[a-zA-Z0-9:/_-]+$",
        length: (1, 2048),
        check: |text| all_of(text, b":/_-"),
    },
    Form {
        name: "monitor-schedule",
        rule: "\"hourly\", \"cron(0 H ? * * *)\" (each day at H, UTC) or \"cron(0 H/N ? * * *)\" \
               (every N hours from H on): Model Monitor takes no others",
        pattern: "^(hourly|cron\\(0 (\\*|(0?[0-9]|1[0-9]|2[0-3])(/(0?[1-9]|1[0-9]|2[0-4]))?) \\? \\* \\* \\*\\))$",
        length: (6, 40),
        check: super::watching::is_schedule,
    },
    Form {
        name: "evaluation",
        rule: "s3://bucket/key or {output}/key; {job} and {output} are filled in, nothing else is \
               in braces",
        pattern: "^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/|\\{output\\}/)([^\\s{}]|\\{job\\}|\\{output\\})+$",
        length: (9, 1024),
        check: |text| {
            let plain = text.replace("{job}", "job");
            let plain = match plain.strip_prefix("{output}/") {
                Some(rest) => format!("s3://bucket/{rest}"),
                None => plain,
            };
            let plain = plain.replace("{output}", "output");
            is_s3_uri(&plain) && !plain.contains(['{', '}'])
        },
    },
    Form {
        name: "principal",
        rule: "the ARN of an IAM principal or the name of a Studio user profile, * for any \
               characters, without spaces",
        pattern: "^[^\\s]+$",
        length: (1, 2048),
        check: |text| !text.chars().any(char::is_whitespace),
    },
    Form {
        name: "role-arn",
        rule: "the ARN of an IAM role, arn:aws:iam::<12 digits>:role/<name>",
        pattern: "^arn:aws[a-z-]*:iam::[0-9]{12}:role/[a-zA-Z0-9_+=,.@/-]+$",
        length: (20, 2048),
        check: |text| {
            arn(text, "iam").is_some_and(|(region, account, rest)| {
                region.is_empty()
                    && is_account(account)
                    && rest.strip_prefix("role/").is_some_and(|name| {
                        !name.is_empty()
                            && name
                                .bytes()
                                .all(|b| b.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&b))
                    })
            })
        },
    },
    Form {
        name: "topic-arn",
        rule: "the ARN of a standard SNS topic, arn:aws:sns:<region>:<12 digits>:<name> (a FIFO \
               topic delivers to SQS alone, so it reaches no person)",
        pattern: "^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[a-zA-Z0-9_-]+$",
        length: (20, 512),
        check: |text| {
            arn(text, "sns").is_some_and(|(region, account, name)| {
                is_region(region) && is_account(account) && all_of(name, b"_-")
            })
        },
    },
    Form {
        name: "image",
        rule: "an image URI of 1 to 255 characters without blanks",
        pattern: "^[^\\s]+$",
        length: (1, 255),
        check: no_blanks,
    },
    Form {
        name: "instance-type",
        rule: "an instance type such as ml.m5.large",
        pattern: "^ml\\.[a-z0-9-]+\\.[a-z0-9-]+$",
        length: (6, 64),
        check: |text| {
            let parts: Vec<&str> = text.split('.').collect();
            let lower = |part: &str| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            };
            matches!(parts.as_slice(), ["ml", family, size] if lower(family) && lower(size))
        },
    },
    Form {
        name: "vpc-id",
        rule: "an id of 1 to 32 letters, digits and hyphens, such as subnet-0123abcd",
        pattern: "^[a-zA-Z0-9-]+$",
        length: (1, 32),
        check: |text| all_of(text, b"-"),
    },
    Form {
        name: "variable",
        rule: "a variable's name: letters, digits and underscores, no digit first",
        pattern: "^[a-zA-Z_][a-zA-Z0-9_]*$",
        length: (1, 1024),
        check: |text| all_of(text, b"_") && !text.starts_with(|c: char| c.is_ascii_digit()),
    },
    Form {
        name: "parameter",
        rule: "a parameter's name: 1 to 256 letters, digits, hyphens and underscores",
        pattern: "^[a-zA-Z0-9_-]+$",
        length: (1, 256),
        check: |text| all_of(text, b"_-"),
    },
    Form {
        name: "content-type",
        rule: "a content type such as text/csv, at most 256 characters without blanks at the ends",
        pattern: "^[^\\s/]+/[^\\s](.*[^\\s])?$",
        length: (3, 256),
        check: |text| {
            text.split_once('/').is_some_and(|(kind, rest)| {
                no_blanks(kind)
                    && !rest.is_empty()
                    && rest.trim() == rest
                    && !rest.contains(['\n', '\r'])
            })
        },
    },
    Form {
        name: "word",
        rule: "a text of 1 to 255 characters without blanks at the ends",
        pattern: "^[^\\s](.*[^\\s])?$",
        length: (1, 255),
        check: |text| !text.is_empty() && text.trim() == text && !text.contains(['\n', '\r']),
    },
    Form {
        name: "namespace",
        rule: "a CloudWatch namespace: 1 to 255 characters without blanks at the ends, no colon \
               first",
        pattern: "^[^:\\s]([^\\r\\n]*[^\\s])?$",
        length: (1, 255),
        check: |text| {
            !text.is_empty()
                && text.trim() == text
                && !text.starts_with(':')
                && !text.contains(['\n', '\r'])
        },
    },
    // CloudWatch's Dimension: names and values are ASCII, names don't begin with a colon.
    Form {
        name: "dimension",
        rule: "a dimension's name: 1 to 255 ASCII characters without blanks at the ends, no colon \
               first",
        pattern: "^[!-9;-~]([ -~]*[!-~])?$",
        length: (1, 255),
        check: |text| is_ascii_text(text) && !text.starts_with(':'),
    },
    Form {
        name: "dimension-value",
        rule: "a dimension's value: 1 to 1,024 ASCII characters without blanks at the ends; \
               {endpoint} and {variant} are filled in, nothing else is in braces",
        pattern: "^([!-z|~]|\\{endpoint\\}|\\{variant\\})\
                  (([ -z|~]|\\{endpoint\\}|\\{variant\\})*\
                  ([!-z|~]|\\{endpoint\\}|\\{variant\\}))?$",
        length: (1, 1024),
        check: |text| {
            let plain = text.replace("{endpoint}", "e").replace("{variant}", "v");
            is_ascii_text(&plain) && !plain.contains(['{', '}'])
        },
    },
];

fn name_characters(text: &str) -> bool {
    all_of(text, b"-") && !text.starts_with('-')
}

/// Letters, digits and the `others`, at least one.
fn all_of(text: &str, others: &[u8]) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || others.contains(&b))
}

/// Printable, with no blanks at the ends.
fn is_ascii_text(text: &str) -> bool {
    !text.is_empty()
        && text.trim() == text
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

fn no_blanks(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

fn is_s3_uri(text: &str) -> bool {
    let Some((bucket, key)) = text
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(inner)
        && !bucket.starts_with(['.', '-'])
        && !bucket.ends_with(['.', '-'])
        && no_blanks(key)
}

/// Region, account and the rest of an ARN of that service.
fn arn<'a>(text: &'a str, service: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let mut parts = text.splitn(6, ':');
    let (scheme, partition, of) = (parts.next()?, parts.next()?, parts.next()?);
    let known = scheme == "arn"
        && of == service
        && partition
            .strip_prefix("aws")
            .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
    known.then_some((parts.next()?, parts.next()?, parts.next()?))
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_region(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
