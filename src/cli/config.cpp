#include "cli/config.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include <graft/error.h>

namespace graft::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kOption = "--config";

Json read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::kIo, path + ": cannot open the configuration: " + std::strerror(errno));
  const auto json = Json::parse(std::istreambuf_iterator<char>(file), {}, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw Error(ErrorCode::kFormat, path + ": expected a JSON object, {\"option\": value, ...}");
  return json;
}

/// "--key=value"; a flag's true is "--key", its false nothing.
std::vector<std::string> arguments_of(const std::string& path, const std::string& key, const Json& value) {
  const std::string option = "--" + key;
  if (value.is_boolean()) return value.get<bool>() ? std::vector{option} : std::vector<std::string>();
  if (value.is_string()) return {option + "=" + value.get<std::string>()};
  if (value.is_number()) return {option + "=" + value.dump()};
  if (!value.is_array())
    throw Error(ErrorCode::kConfig, path + ": \"" + key + "\": expected a text, a number, true, false or a list");
  std::vector<std::string> all;
  for (const auto& each : value)
    for (auto& argument : arguments_of(path, key, each)) all.push_back(std::move(argument));
  return all;
}

bool is_given(const std::vector<std::string>& arguments, const std::string& key) {
  const std::string option = "--" + key;
  return std::any_of(arguments.begin(), arguments.end(),
                     [&](const std::string& a) { return a == option || a.starts_with(option + "="); });
}

}  // namespace

void add_config(CLI::App& command) {
  // What it says is among the arguments before they are parsed.
  command.add_option(kOption, "JSON file of these options by their names; those given here count more")
      ->type_name("FILE");
}

std::vector<std::string> with_config(const CLI::App& app, std::vector<std::string> arguments) {
  if (arguments.empty()) return arguments;
  const auto commands = app.get_subcommands([&](const CLI::App* a) { return a->check_name(arguments[0]); });
  const CLI::App* const command = commands.empty() ? nullptr : commands.front();
  const auto at = std::find_if(arguments.begin(), arguments.end(), [](const std::string& a) {
    return a == kOption || a.starts_with(std::string(kOption) + "=");
  });
  if (!command || at == arguments.end() || !command->get_option_no_throw(kOption)) return arguments;
  const bool apart = *at == kOption;
  if (apart && at + 1 == arguments.end()) return arguments;
  const std::string path = apart ? *(at + 1) : at->substr(std::string(kOption).size() + 1);
  std::vector<std::string> all{arguments[0]};
  const auto config = read(path);
  for (const auto& [key, value] : config.items()) {
    if (key == "config" || !command->get_option_no_throw("--" + key))
      throw Error(ErrorCode::kConfig, path + ": unknown key \"" + key + "\"; graft " + arguments[0] +
                                          " --help lists the options, which are the keys");
    if (is_given(arguments, key)) continue;
    for (auto& argument : arguments_of(path, key, value)) all.push_back(std::move(argument));
  }
  all.insert(all.end(), arguments.begin() + 1, arguments.end());
  return all;
}

}  // namespace graft::cli
