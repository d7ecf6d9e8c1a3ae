/// What is said of a command line that cannot be understood.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace graft::cli {

/// "help" and "help COMMAND" as "--help" and "COMMAND --help". Throws Error kConfig for a command that there is not.
std::vector<std::string> with_help(const CLI::App& program, std::vector<std::string> arguments);

/// One line for an error of parsing: what is unknown in the order in which it was written, and what may have been
/// meant.
std::string usage_message(const CLI::App& program, const CLI::ParseError& error);

}  // namespace graft::cli
