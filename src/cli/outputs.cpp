#include "cli/outputs.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <system_error>

#include <graft/error.h>

namespace graft::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 4> kOutputs = {"--out", "--report", "--log", "--predictions"};
/// What else names files and folders.
constexpr std::array<std::string_view, 16> kInputs = {"MODEL",
                                                      "FIRST",
                                                      "SECOND",
                                                      "PICTURE",
                                                      "RUN.json",
                                                      "--among",
                                                      "--data",
                                                      "--train",
                                                      "--val",
                                                      "--calibration",
                                                      "--config",
                                                      "--labels",
                                                      "--model",
                                                      "--sha256-manifest",
                                                      "--checkpoint-dir",
                                                      "--tensorboard"};

bool contains(const auto& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code no_file, unresolved;
  if (fs::equivalent(a, b, no_file)) return true;
  const auto real_a = fs::weakly_canonical(fs::absolute(a), unresolved);
  if (unresolved) return false;
  const auto real_b = fs::weakly_canonical(fs::absolute(b), unresolved);
  return !unresolved && real_a == real_b;
}

/// A picture that is there, below a folder that is read.
bool is_picture_of(const fs::path& folder, const fs::path& file) {
  std::error_code ignored;
  if (file.extension() != ".png" || !fs::is_directory(folder, ignored) || !fs::exists(file, ignored)) return false;
  const auto below = fs::weakly_canonical(file, ignored).lexically_relative(fs::weakly_canonical(folder, ignored));
  return !below.empty() && *below.begin() != "..";
}

/// Models are written whole, so one may take the place of the one that it is made from.
bool may_be_same(std::string_view output, std::string_view input) { return output == "--out" && input == "MODEL"; }

}  // namespace

CLI::Validator page_name() {
  return {[](std::string& name) {
            const bool fits = name.ends_with(".html") || name.ends_with(".htm");
            return fits ? std::string() : "expected a .html file, found \"" + name + "\"";
          },
          "FILE.html"};
}

CLI::Validator png_name() {
  return {[](std::string& name) {
            return name.ends_with(".png") ? std::string() : "expected a .png file, found \"" + name + "\"";
          },
          "FILE.png"};
}

void check_folder_name(const std::string& out, const std::string& otherwise) {
  std::error_code ignored;
  const auto ending = fs::path(out).extension().string();  // none of "results/", ".hidden" and "."
  const bool is_file_name = ending.size() > 1 && std::isalpha(static_cast<unsigned char>(ending[1])) != 0;
  if (is_file_name && !fs::is_directory(out, ignored))
    throw Error(ErrorCode::kConfig, "--out: expected a folder" + otherwise + ", found \"" + out +
                                        "\"; a folder of that name is taken where it is there, or ends in /");
}

void check_output(const CLI::App& command, const std::string& option, const fs::path& file) {
  for (const auto* other : command.get_options()) {
    const auto name = other->get_name();
    if (name == option || may_be_same(option, name) || (!contains(kOutputs, name) && !contains(kInputs, name)))
      continue;
    for (const auto& given : other->results())
      if (!given.empty() && (is_same(file, given) || (!contains(kOutputs, name) && is_picture_of(given, file))))
        throw Error(ErrorCode::kConfig, option + ": would write over what " + name + " names: " + file.string());
  }
}

void check_outputs(const CLI::App& command) {
  for (const auto* option : command.get_options()) {
    const auto name = option->get_name();
    if (!contains(kOutputs, name)) continue;
    for (const auto& given : option->results())
      if (!given.empty()) check_output(command, name, given);
  }
}

}  // namespace graft::cli
