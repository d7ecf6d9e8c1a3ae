/// What processes tell each other: several texts in one, each of any bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace graft::dist {

class MessageWriter {
 public:
  void add(const std::string& text) { all_ += std::to_string(text.size()) + ':' + text; }
  void add(std::int64_t number) { add(std::to_string(number)); }
  const std::string& text() const { return all_; }

 private:
  std::string all_;
};

/// The texts in the order in which they were added. The message must outlive it.
class MessageReader {
 public:
  explicit MessageReader(const std::string& all) : all_(all) {}
  bool ends() const { return at_ >= all_.size(); }
  std::string next() {
    const auto colon = all_.find(':', at_);
    const auto size = std::stoul(all_.substr(at_, colon - at_));
    at_ = colon + 1 + size;
    return all_.substr(colon + 1, size);
  }
  std::int64_t number() { return std::stoll(next()); }

 private:
  const std::string& all_;
  std::size_t at_ = 0;
};

}  // namespace graft::dist
