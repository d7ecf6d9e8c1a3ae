#include "cli/usage.h"

#include <algorithm>
#include <numeric>
#include <string_view>

#include <graft/error.h>

namespace graft::cli {

namespace {

constexpr std::size_t kMostTypos = 2;

/// Levenshtein's distance: letters to insert, remove or replace.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

/// "; did you mean --top-k?" for the nearest of the names, or nothing.
std::string suggestion(std::string_view written, const std::vector<std::string>& names) {
  const std::string* nearest = nullptr;
  for (const auto& name : names)
    if (!nearest || distance(written, name) < distance(written, *nearest)) nearest = &name;
  // Of a short name as much is no typo.
  if (!nearest || distance(written, *nearest) > std::min(kMostTypos, nearest->size() / 2)) return "";
  return "; did you mean " + *nearest + "?";
}

std::vector<std::string> command_names(const CLI::App& program) {
  std::vector<std::string> names;
  for (const auto* command : program.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const auto* option : command.get_options())
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

const CLI::App* parsed_command(const CLI::App& program) {
  const auto commands = program.get_subcommands([](const CLI::App* command) { return command->parsed(); });
  return commands.empty() ? nullptr : commands.front();
}

/// The options, or if there is none all of the arguments, that a command does not know.
std::string unknown(const CLI::App& command) {
  const auto remaining = command.remaining();
  std::vector<std::string> options;
  for (const auto& argument : remaining)
    if (argument.starts_with('-') && argument.size() > 1) options.push_back(argument.substr(0, argument.find('=')));
  if (options.empty())
    return std::string(remaining.size() == 1 ? "unexpected argument " : "unexpected arguments ") +
           CLI::detail::join(remaining, " ");
  std::string hint;
  for (const auto& option : options)
    if (hint.empty()) hint = suggestion(option, option_names(command));
  return std::string(options.size() == 1 ? "unknown option " : "unknown options ") + CLI::detail::join(options, " ") +
         hint;
}

}  // namespace

std::vector<std::string> with_help(const CLI::App& program, std::vector<std::string> arguments) {
  if (!arguments.empty() && arguments[0] == "help") {
    arguments.erase(arguments.begin());
    arguments.resize(std::min<std::size_t>(arguments.size(), 1));
    arguments.emplace_back("--help");
  }
  if (arguments.empty() || arguments[0].starts_with('-')) return arguments;
  const auto names = command_names(program);
  if (std::ranges::find(names, arguments[0]) == names.end())
    throw Error(ErrorCode::kConfig,
                arguments[0] + ": unknown command" + suggestion(arguments[0], names) + " (graft --help lists all)");
  return arguments;
}

std::string usage_message(const CLI::App& program, const CLI::ParseError& error) {
  const auto* command = parsed_command(program);
  const std::string help = " (graft " + (command ? command->get_name() + " " : std::string()) + "--help)";
  // An option that is misspelt is why the right one is missing.
  if (command && command->remaining_size() > 0) return command->get_name() + ": " + unknown(*command) + help;
  std::string message = error.what();
  std::ranges::replace_if(message, [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return (command ? command->get_name() + ": " : std::string()) + message + help;
}

}  // namespace graft::cli
