#include "train/checkpoint.h"

#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>

#include "base/printf.h"
#include "base/safetensors.h"
#include "base/text.h"

namespace graft::train {

namespace fs = std::filesystem;

namespace {

constexpr const char* kNumber = "checkpoint";
constexpr const char* kFormatKey = "graft_checkpoint";
constexpr std::int64_t kFormat = 2;  ///< to be raised when an older version could not go on from what is written
/// Older ones do not say all that their run was made of, so none can tell whether this is the same.
constexpr std::int64_t kOldest = 2;
constexpr std::string_view kSetting = "setting/";
/// Before the names of texts that are not UTF-8, as JSON has to be: file names, messages with them.
constexpr std::string_view kEscaped = "escaped/";

}  // namespace

void RunState::set(const std::string& name, double value) { values[name] = base::shortest(value); }

const std::string& RunState::text(const std::string& name) const {
  const auto it = values.find(name);
  if (it == values.end()) throw Error(ErrorCode::kFormat, "the checkpoint has no \"" + name + "\"");
  return it->second;
}

const at::Tensor& RunState::tensor(const std::string& name) const {
  const auto it = tensors.find(name);
  if (it == tensors.end()) throw Error(ErrorCode::kFormat, "the checkpoint has no \"" + name + "\"");
  return it->second;
}

namespace {

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '%' || byte >= 0x80)
      result += base::format("%%%02x", static_cast<unsigned>(byte));
    else
      result += c;
  }
  return result;
}

std::string unescaped(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned byte = static_cast<unsigned char>(text[i]);
    if (text[i] == '%') {
      const auto digits = text.substr(i + 1, 2);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
      if (error != std::errc() || end != digits.data() + 2)
        throw Error(ErrorCode::kFormat, "the checkpoint has a damaged text: " + std::string(text));
      i += 2;
    }
    result += static_cast<char>(byte);
  }
  return result;
}

template <class Number>
Number parsed(const std::string& name, const std::string& text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(ErrorCode::kFormat, "the checkpoint's \"" + name + "\" is no number: " + text);
  return value;
}

std::optional<RunState> read(const fs::path& path, const WarningCallback& on_warning) {
  if (!fs::exists(path)) return std::nullopt;
  try {
    auto content = base::read_own_safetensors(path);
    RunState state;
    state.tensors = std::move(content.tensors);
    for (auto& [name, text] : content.metadata) {
      const bool escaped = name.starts_with(kEscaped);
      state.values[escaped ? name.substr(kEscaped.size()) : name] = escaped ? unescaped(text) : std::move(text);
    }
    (void)state.integer(kNumber);
    if (const auto format = state.integer(kFormatKey); format > kFormat)
      throw Error(ErrorCode::kMismatch, path.string() + ": expected a checkpoint of format " + std::to_string(kFormat) +
                                            " or before, found " + std::to_string(format) +
                                            ", which a newer version of Graft has written");
    else if (format < kOldest)
      throw Error(ErrorCode::kMismatch,
                  path.string() + ": expected a checkpoint of format " + std::to_string(kOldest) + " or later, found " +
                      std::to_string(format) +
                      ", which does not say all that its run was made of: end that run with the version of Graft that "
                      "began it, or begin anew in another folder");
    return state;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kFormat) throw;
    if (on_warning) on_warning(std::string(error.what()) + "; it is left out");
    return std::nullopt;
  }
}

}  // namespace

double RunState::number(const std::string& name) const { return parsed<double>(name, text(name)); }
std::int64_t RunState::integer(const std::string& name) const { return parsed<std::int64_t>(name, text(name)); }

void RunState::add(const std::string& prefix, const std::map<std::string, at::Tensor>& named) {
  for (const auto& [name, tensor] : named) tensors[prefix + "/" + name] = tensor;
}

std::map<std::string, at::Tensor> RunState::under(const std::string& prefix) const {
  std::map<std::string, at::Tensor> found;
  const std::string start = prefix + "/";
  for (auto it = tensors.lower_bound(start); it != tensors.end() && it->first.starts_with(start); ++it)
    found[it->first.substr(start.size())] = it->second;
  return found;
}

CheckpointFiles::CheckpointFiles(const CheckpointOptions& options, WarningCallback on_warning)
    : directory_(options.directory), resume_(options.resume), on_warning_(std::move(on_warning)) {
  std::error_code error;
  fs::create_directories(directory_, error);
  if (error) base::raise_errno(directory_, "cannot be made", error.value());
  const auto lock = directory_ / "lock";
  lock_ = base::Descriptor(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (lock_.get() < 0) base::raise_errno(lock, "cannot open", errno);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
    throw Error(ErrorCode::kIo, directory_.string() + ": another process trains with these checkpoints");
  if (!resume_ && (fs::exists(file(0)) || fs::exists(file(1))))
    throw Error(ErrorCode::kConfig, directory_.string() +
                                        ": has the checkpoint of a run already: resume it (--resume, "
                                        "CheckpointOptions::resume), or give this run a directory of its own");
}

fs::path CheckpointFiles::file(const fs::path& directory, std::int64_t number) {
  return directory / ("checkpoint-" + std::to_string(number % 2) + ".safetensors");
}

std::optional<RunState> CheckpointFiles::newest(const fs::path& directory, const WarningCallback& on_warning) {
  auto state = read(file(directory, 0), on_warning), other = read(file(directory, 1), on_warning);
  if (!state || (other && other->integer(kNumber) > state->integer(kNumber))) state = std::move(other);
  return state;
}

std::optional<std::string> CheckpointFiles::setting_of_newest(const fs::path& directory, const std::string& name) {
  const auto state = newest(directory, {});
  if (!state) return std::nullopt;
  const auto it = state->values.find(std::string(kSetting) + name);
  return it == state->values.end() ? std::nullopt : std::optional(it->second);
}

std::optional<RunState> CheckpointFiles::newest(const std::map<std::string, std::string>& settings) {
  if (!resume_) return std::nullopt;
  auto state = newest(directory_, on_warning_);
  if (!state) return std::nullopt;
  number_ = state->integer(kNumber);
  std::string differences;
  for (const auto& [name, value] : settings) {
    const auto it = state->values.find(std::string(kSetting) + name);
    const std::string had = it == state->values.end() ? "none" : it->second;
    if (had != value) differences += (differences.empty() ? "" : "; ") + name + ": it had " + had + ", here " + value;
  }
  for (const auto& [key, value] : state->values)
    if (key.starts_with(kSetting) && !settings.contains(key.substr(kSetting.size())))
      differences +=
          (differences.empty() ? "" : "; ") + key.substr(kSetting.size()) + ": it had " + value + ", here none";
  if (!differences.empty())
    throw Error(ErrorCode::kMismatch, directory_.string() + ": the checkpoint is of another run: " + differences);
  return state;
}

void CheckpointFiles::write(const RunState& state, const std::map<std::string, std::string>& settings) {
  base::Safetensors content{state.tensors, {}};
  for (auto& [name, tensor] : content.tensors) tensor = tensor.to(at::kCPU);
  const auto add = [&](const std::string& name, const std::string& text) {
    const bool utf8 = base::is_utf8(text);
    content.metadata[utf8 ? name : std::string(kEscaped) + name] = utf8 ? text : escaped(text);
  };
  for (const auto& [name, value] : state.values) add(name, value);
  for (const auto& [name, value] : settings) add(std::string(kSetting) + name, value);
  content.metadata[kNumber] = std::to_string(number_ + 1);
  content.metadata[kFormatKey] = std::to_string(kFormat);
  base::write_safetensors(file(number_ + 1), content);
  ++number_;
}

}  // namespace graft::train
