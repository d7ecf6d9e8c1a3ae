// What a shell and man want to know of the program, made from its own options so that it is never behind them.

#include <algorithm>
#include <regex>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/json.h"

namespace graft::cli {

namespace {

/// An option as a shell sees it.
struct Flag {
  std::string name;  ///< "--freeze"
  std::string what;
  bool takes_value = false;
  std::vector<std::string> choices;  ///< its values, where there are only so many
};

struct CommandFlags {
  std::string name, what;
  std::vector<Flag> flags;
};

/// "{a,b}" in the name of an option's type.
std::vector<std::string> choices_of(const CLI::Option& option) {
  std::vector<std::string> choices;
  const std::string type = option.get_type_name();
  std::smatch found;
  if (!std::regex_search(type, found, std::regex(R"(\{([^}]*)\})"))) return choices;
  std::string text = found[1].str() + ",";
  for (std::size_t at = 0, end; (end = text.find(',', at)) != std::string::npos; at = end + 1)
    choices.push_back(text.substr(at, end - at));
  return choices;
}

std::vector<const CLI::App*> commands_of(const CLI::App& program) {
  return program.get_subcommands([](const CLI::App*) { return true; });
}

std::vector<CommandFlags> all_flags(const CLI::App& program) {
  std::vector<CommandFlags> all;
  for (const auto* command : commands_of(program)) {
    CommandFlags one{command->get_name(), command->get_description(), {}};
    for (const auto* option : command->get_options())
      if (!option->get_lnames().empty())
        one.flags.push_back({"--" + option->get_lnames()[0], option->get_description(),
                             option->get_items_expected_max() > 0, choices_of(*option)});
    all.push_back(std::move(one));
  }
  return all;
}

std::string joined(const std::vector<std::string>& words, const std::string& separator = " ") {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

/// In single quotes for a shell.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string(R"('\'')") : std::string(1, c);
  return result + "'";
}

std::string bash(const std::vector<CommandFlags>& commands) {
  std::vector<std::string> names;
  for (const auto& command : commands) names.push_back(command.name);
  std::string text =
      "# bash completion of graft: source this, or put it into bash_completion.d\n_graft() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
      "  COMPREPLY=()\n"
      "  if ((COMP_CWORD == 1)); then COMPREPLY=($(compgen -W " +
      quoted(joined(names)) + " -- \"$word\")); return; fi\n  case \"${COMP_WORDS[1]} $before\" in\n";
  for (const auto& command : commands)
    for (const auto& flag : command.flags)
      if (!flag.choices.empty())
        text += "    " + quoted(command.name + " " + flag.name) + ") COMPREPLY=($(compgen -W " +
                quoted(joined(flag.choices)) + " -- \"$word\")); return ;;\n";
  text += "  esac\n  [[ \"$word\" == -* ]] || return\n  case \"${COMP_WORDS[1]}\" in\n";
  for (const auto& command : commands) {
    std::vector<std::string> flags;
    for (const auto& flag : command.flags) flags.push_back(flag.name);
    text += "    " + command.name + ") COMPREPLY=($(compgen -W " + quoted(joined(flags)) + " -- \"$word\")) ;;\n";
  }
  return text + "  esac\n}\ncomplete -o default -F _graft graft\n";
}

std::string zsh(const std::vector<CommandFlags>& commands) {
  // Brackets and colons part the fields of a specification.
  const auto plain = [](std::string what) {
    for (char& c : what)
      if (c == '[' || c == ']' || c == ':') c = ' ';
    return what;
  };
  std::string text = "#compdef graft\n_graft() {\n  if ((CURRENT == 2)); then\n    local -a commands=(";
  for (const auto& command : commands) text += quoted(command.name + ":" + plain(command.what)) + " ";
  text +=
      ")\n    _describe command commands\n    return\n  fi\n  local command=\"${words[2]}\"\n  shift words\n"
      "  ((CURRENT--))\n  case \"$command\" in\n";
  for (const auto& command : commands) {
    text += "    " + command.name + ") _arguments";
    for (const auto& flag : command.flags) {
      const std::string value = !flag.takes_value      ? ""
                                : flag.choices.empty() ? ":value:_files"
                                                       : ":value:(" + joined(flag.choices) + ")";
      text += " \\\n      " + quoted(flag.name + "[" + plain(flag.what) + "]" + value);
    }
    text += " \\\n      '*:file:_files' ;;\n";
  }
  return text + "  esac\n}\ncompdef _graft graft\n";
}

std::string fish(const std::vector<CommandFlags>& commands) {
  std::string text = "# fish completion of graft\n";
  for (const auto& command : commands) {
    text += "complete -c graft -n __fish_use_subcommand -f -a " + command.name + " -d " + quoted(command.what) + "\n";
    for (const auto& flag : command.flags)
      text += "complete -c graft -n '__fish_seen_subcommand_from " + command.name + "' -l " + flag.name.substr(2) +
              (flag.takes_value ? " -r" : "") + (flag.choices.empty() ? "" : " -f -a " + quoted(joined(flag.choices))) +
              " -d " + quoted(flag.what) + "\n";
  }
  return text;
}

/// For roff: no line begins with a dot or an apostrophe, backslashes and hyphens stand for themselves.
std::string roff(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if ((c == '.' || c == '\'') && (result.empty() || result.back() == '\n')) result += "\\&";
    result += c == '\\' ? "\\e" : c == '-' ? "\\-" : std::string(1, c);
  }
  return result;
}

std::string manual(const CLI::App& program) {
  std::string text = ".TH GRAFT 1 \"\" \"graft " GRAFT_VERSION "\" \"User Commands\"\n.SH NAME\ngraft \\- " +
                     roff("transfer learning for networks that take pictures or texts") +
                     "\n.SH SYNOPSIS\n.B graft\n.I COMMAND\n[\\fIOPTION\\fR]...\n.SH DESCRIPTION\n" +
                     roff(program.get_description()) + "\n.SH COMMANDS\n";
  for (const auto* command : commands_of(program)) {
    text += ".SS " + roff(command->get_name()) + "\n" + roff(command->get_description()) + "\n";
    for (const auto* option : command->get_options()) {
      const bool named = !option->get_lnames().empty();
      text += ".TP\n\\fB" + roff(named ? "--" + option->get_lnames()[0] : option->get_name()) + "\\fR";
      if (named && option->get_items_expected_max() > 0) text += " \\fI" + roff(option->get_type_name()) + "\\fR";
      if (!option->get_default_str().empty()) text += " (" + roff(option->get_default_str()) + ")";
      text += "\n" + roff(option->get_description()) + "\n";
    }
    if (!command->get_footer().empty()) text += ".PP\n.nf\n" + roff(command->get_footer()) + "\n.fi\n";
  }
  return text +
         ".SH EXIT STATUS\n0 done, 2 bad usage, 130 or 143 interrupted, 1 any other error, with one line\n"
         ".IR \"graft: CODE: message\" .\n";
}

}  // namespace

Command add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  app.add_option("SHELL", *shell, "bash, zsh or fish")->check(CLI::IsMember({"bash", "zsh", "fish"}))->required();
  return [shell, program = app.get_parent()](const Common& common) {
    const auto flags = all_flags(*program);
    const auto script = *shell == "bash" ? bash(flags) : *shell == "zsh" ? zsh(flags) : fish(flags);
    common.json ? print_json({{"shell", *shell}, {"script", script}}) : print(script);
  };
}

Command add_manual(CLI::App& app) {
  return [program = app.get_parent()](const Common& common) {
    common.json ? print_json({{"manual", manual(*program)}}) : print(manual(*program));
  };
}

}  // namespace graft::cli
