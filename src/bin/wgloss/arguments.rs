//! What is wrong with arguments, in one line: clap's own message takes three to seven.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Command, Error};
use std::error::Error as _;
use std::ffi::OsString;

/// A sentence that begins with the argument that it is about.
pub fn explain(wrong: &Error, root: &Command, arguments: &[OsString]) -> String {
    let asked = Asked::of(root, arguments);
    let path = &asked.path;
    let subject = bare(&text(wrong, ContextKind::InvalidArg));
    let value = text(wrong, ContextKind::InvalidValue);
    match wrong.kind() {
        ErrorKind::InvalidValue if value.is_empty() => format!("{subject}: needs a value"),
        ErrorKind::InvalidValue => {
            let values = choice(&texts(wrong, ContextKind::ValidValue));
            format!("{subject}: expected {values}, found {value}")
        }
        ErrorKind::ValueValidation => format!("{subject}: {}", misfit(wrong, &value)),
        ErrorKind::UnknownArgument if asked.command.has_subcommands() => {
            format!("{subject}: options of {path} follow the {}", asked.next())
        }
        ErrorKind::UnknownArgument if subject.starts_with('-') => {
            let name = asked.command.get_name();
            let takes = match &asked.own()[..] {
                [] => "it has no options of its own".into(),
                own => format!("it takes {}", own.join(", ")),
            };
            // What another loss takes is no slip of the keyboard.
            let hint = match &text(wrong, ContextKind::SuggestedArg)[..] {
                "" => String::new(),
                _ if asked.beside().iter().flatten().any(|o| *o == subject) => String::new(),
                meant => format!("; did you mean {meant}?"),
            };
            format!("{subject}: {name} does not take it ({takes}){hint}")
        }
        ErrorKind::UnknownArgument => format!("{subject}: one argument too many for {path}"),
        ErrorKind::MissingRequiredArgument => {
            let missing = text(wrong, ContextKind::InvalidArg);
            format!("{subject}: missing, {path} needs {missing}")
        }
        ErrorKind::TooManyValues => format!("{subject}: takes no value, found {value}"),
        ErrorKind::InvalidSubcommand => {
            let found = text(wrong, ContextKind::InvalidSubcommand);
            let next = asked.next();
            format!("{found}: no such {next}, {path} takes {}", asked.choices())
        }
        ErrorKind::MissingSubcommand => {
            let next = asked.next();
            format!("{next}: {path} needs one: {}", asked.choices())
        }
        ErrorKind::ArgumentConflict => match bare(&text(wrong, ContextKind::PriorArg)) {
            prior if prior == subject => format!("{subject}: given twice"),
            prior => format!("{subject}: does not go together with {prior}"),
        },
        _ => {
            let all = wrong.to_string();
            let line = all.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        }
    }
}

/// Why a value does not fit its option.
fn misfit(wrong: &Error, value: &str) -> String {
    let Some(reason) = wrong.source() else {
        return format!("{value:?} does not fit");
    };
    match reason.downcast_ref::<wgloss::Error>() {
        // It names the library's setting; the option is named already.
        Some(error) => {
            let text = error.to_string();
            let setting = format!("{}: ", error.subject());
            text.strip_prefix(&setting).unwrap_or(&text).to_owned()
        }
        None => format!("{value:?} does not fit, {reason}"),
    }
}

/// The subcommand that clap adds.
const HELP: &str = "help";

/// The command that the arguments name.
struct Asked<'a> {
    path: String,
    command: &'a Command,
    parent: Option<&'a Command>,
}

impl<'a> Asked<'a> {
    fn of(root: &'a Command, arguments: &[OsString]) -> Self {
        let mut asked = Asked {
            path: root.get_name().into(),
            command: root,
            parent: None,
        };
        for argument in arguments.iter().skip(1) {
            let command = asked.command.find_subcommand(argument);
            let Some(command) = command.filter(|command| command.get_name() != HELP) else {
                break;
            };
            asked.path = format!("{} {}", asked.path, command.get_name());
            asked.parent = Some(asked.command);
            asked.command = command;
        }
        asked
    }

    /// What is named next on the command line.
    fn next(&self) -> String {
        let name = self.command.get_subcommand_value_name();
        name.unwrap_or("command").to_lowercase()
    }

    /// The names that may be next.
    fn choices(&self) -> String {
        let names = self.command.get_subcommands().map(Command::get_name);
        let names = names.filter(|name| *name != HELP).map(String::from);
        choice(&names.collect::<Vec<_>>())
    }

    /// The options of the commands beside it, itself among them.
    fn beside(&self) -> Vec<Vec<String>> {
        let all = self.parent.into_iter().flat_map(Command::get_subcommands);
        all.map(options).collect()
    }

    /// The options that not every command beside it takes; one that has no loss lacks those of a loss.
    fn own(&self) -> Vec<String> {
        let beside = self.beside();
        let lack = |option: &String| beside.iter().filter(|all| !all.contains(option)).count();
        let mut own = options(self.command);
        own.retain(|option| lack(option) > 1);
        own
    }
}

/// The options of a command.
fn options(command: &Command) -> Vec<String> {
    let settings = command.get_arguments().filter(|argument| {
        use ArgAction::{Help, HelpLong, HelpShort, Version};
        !matches!(argument.get_action(), Help | HelpLong | HelpShort | Version)
    });
    let names = settings.filter_map(|option| option.get_long());
    names.map(|name| format!("--{name}")).collect()
}

/// The name of an argument, without its value.
fn bare(argument: &str) -> String {
    let name = argument.split([' ', '=']).next().unwrap_or_default();
    name.trim_matches(['<', '>']).into()
}

fn text(wrong: &Error, kind: ContextKind) -> String {
    texts(wrong, kind).into_iter().next().unwrap_or_default()
}

fn texts(wrong: &Error, kind: ContextKind) -> Vec<String> {
    match wrong.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// `a, b or c`.
pub fn choice(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [name] => name.clone(),
        [names @ .., last] => format!("{} or {last}", names.join(", ")),
    }
}
