/// Options from a JSON file: {"epochs": 5, "freeze": "stages:3", "group": ["layer4=0.1"], "balanced-sampling": true}.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace graft::cli {

void add_config(CLI::App& command);

/// The arguments with those of their --config FILE in front of them: what is given on the command line counts.
/// Throws Error kIo, kFormat (no JSON object), kConfig naming a key that the command does not have.
std::vector<std::string> with_config(const CLI::App& app, std::vector<std::string> arguments);

}  // namespace graft::cli
