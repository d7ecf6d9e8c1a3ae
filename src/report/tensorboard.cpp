// TensorBoard's event files: TFRecords (tensorflow/core/lib/io/record_writer.cc) of Event messages
// (tensorflow/core/util/event.proto), of which few fields are needed.

#include <graft/tensorboard.h>

#include <array>
#include <bit>
#include <chrono>
#include <fstream>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <unistd.h>

#include <graft/error.h>

#include "base/alive.h"
#include "base/host_name.h"
#include "base/translate.h"

namespace graft {

namespace {

/// CRC-32C (Castagnoli; RFC 3720, B.4), as TFRecords mask it.
std::uint32_t masked_crc(std::string_view bytes) {
  static constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82F63B78u : 0u);
      table[i] = value;
    }
    return table;
  }();
  std::uint32_t crc = ~0u;
  for (const char c : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return std::rotr(~crc, 15) + 0xA282EAD8u;
}

template <class Unsigned>
std::string little_endian(Unsigned value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof value; ++i) bytes += static_cast<char>(value >> 8 * i & 0xFF);
  return bytes;
}

std::string record(std::string_view data) {
  const auto length = little_endian(static_cast<std::uint64_t>(data.size()));
  return length + little_endian(masked_crc(length)) + std::string(data) + little_endian(masked_crc(data));
}

/// A message of Protocol Buffers, field by field.
class Message {
 public:
  Message& fixed64(int field, double value) {
    key(field, 1);
    bytes_ += little_endian(std::bit_cast<std::uint64_t>(value));
    return *this;
  }
  Message& fixed32(int field, float value) {
    key(field, 5);
    bytes_ += little_endian(std::bit_cast<std::uint32_t>(value));
    return *this;
  }
  Message& integer(int field, std::int64_t value) {
    key(field, 0);
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  Message& bytes(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return bytes(field, value.bytes_); }
  const std::string& encoded() const { return bytes_; }

 private:
  void key(int field, int wire_type) { varint(static_cast<std::uint64_t>(field << 3 | wire_type)); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7F) | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

using Scalars = std::map<std::string, double>;

/// One event file.
class EventFile {
 public:
  explicit EventFile(const std::filesystem::path& directory)
      : path_(unused_path(directory)), file_(path_, std::ios::binary) {
    if (!file_) throw Error(ErrorCode::kIo, path_.string() + ": cannot be created");
    write(Message().fixed64(kWallTime, seconds_since_1970()).bytes(kFileVersion, "brain.Event:2"));
  }

  void add(const Scalars& scalars, std::int64_t step) {
    Message summary;
    for (const auto& [tag, value] : scalars)
      summary.message(kValue, Message().bytes(kTag, tag).fixed32(kSimpleValue, static_cast<float>(value)));
    write(Message().fixed64(kWallTime, seconds_since_1970()).integer(kStep, step).message(kSummary, summary));
  }

 private:
  enum EventField { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5 };
  enum SummaryField { kValue = 1 };
  enum ValueField { kTag = 1, kSimpleValue = 2 };

  /// TensorBoard reads a directory's files in the order of their names.
  static std::filesystem::path unused_path(const std::filesystem::path& directory) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) throw Error(ErrorCode::kIo, directory.string() + ": cannot be made: " + error.message());
    const auto host = base::host_name();
    const auto stem = "events.out.tfevents." + std::to_string(static_cast<long long>(seconds_since_1970())) + "." +
                      (host.empty() ? "local" : host) + "." + std::to_string(::getpid()) + ".";
    for (int number = 0;; ++number)
      if (auto path = directory / (stem + std::to_string(number)); !std::filesystem::exists(path)) return path;
  }

  void write(const Message& event) {
    const auto bytes = record(event.encoded());
    if (!file_.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush())
      throw Error(ErrorCode::kIo, path_.string() + ": cannot be written");
  }

  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace

struct [[gnu::visibility("hidden")]] TensorBoard::Impl {
  std::filesystem::path directory;
  EventFile train{directory / "train"};
  std::optional<EventFile> validation = {};  ///< once there is something
  std::int64_t epoch = 0;                    ///< of the latest step
};

TensorBoard::TensorBoard(const std::filesystem::path& directory)
    : impl_(base::translated("TensorBoard", [&] { return std::make_unique<Impl>(Impl{.directory = directory}); })) {}
TensorBoard::~TensorBoard() = default;
TensorBoard::TensorBoard(TensorBoard&&) noexcept = default;
TensorBoard& TensorBoard::operator=(TensorBoard&&) noexcept = default;
TensorBoard::Impl& TensorBoard::impl() const { return base::alive(impl_, "TensorBoard"); }

void TensorBoard::add(const StepInfo& step) {
  base::translated("TensorBoard", [&] {
    impl().epoch = step.epoch;
    if (step.validating) return;
    impl().train.add({{"batch_loss", step.loss},
                      {"batch_accuracy", step.accuracy},
                      {"batch_images_per_second", step.images_per_second}},
                     step.epoch * step.steps + step.step - 1);
  });
}

void TensorBoard::add(const EpochInfo& epoch) {
  base::translated("TensorBoard", [&] {
    auto& files = impl();
    Scalars training = {
        {"epoch_loss", epoch.loss}, {"epoch_accuracy", epoch.accuracy}, {"epoch_learning_rate", epoch.learning_rate}};
    for (const auto& one : epoch.learning_rates) training["epoch_learning_rate/" + one.group] = one.rate;
    files.train.add(training, files.epoch);
    Scalars validation;
    if (epoch.val_loss) validation["epoch_loss"] = *epoch.val_loss;
    if (epoch.val_accuracy) validation["epoch_accuracy"] = *epoch.val_accuracy;
    if (epoch.val_top5_accuracy) validation["epoch_top5_accuracy"] = *epoch.val_top5_accuracy;
    if (validation.empty()) return;
    if (!files.validation) files.validation.emplace(files.directory / "validation");
    files.validation->add(validation, files.epoch);
  });
}

void TensorBoard::add_scalar(std::string_view tag, double value, std::int64_t step) {
  base::translated("TensorBoard", [&] { impl().train.add({{std::string(tag), value}}, step); });
}

}  // namespace graft
