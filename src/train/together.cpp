#include "train/together.h"

#include <string>
#include <utility>

#include <ATen/ops/empty.h>

namespace graft::train {

namespace {

/// Texts in one.
class Writer {
 public:
  void add(const std::string& text) { all_ += std::to_string(text.size()) + ':' + text; }
  const std::string& text() const { return all_; }

 private:
  std::string all_;
};

class Reader {
 public:
  explicit Reader(const std::string& all) : all_(all) {}
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

}  // namespace

BatchShare share_of(const Communicator* processes, bool by_example) {
  if (!processes) return {};
  return {processes->rank(), processes->size(), by_example};
}

std::vector<BadImage> of_all(Communicator* processes, std::vector<BadImage> mine) {
  if (!processes) return mine;
  Writer written;
  for (const auto& bad : mine) {
    written.add(bad.name);
    written.add(bad.message);
  }
  std::vector<BadImage> all;
  for (const auto& text : processes->all_gather(written.text()))
    for (Reader reader(text); !reader.ends();) {
      auto name = reader.next();
      all.push_back({std::move(name), reader.next()});
    }
  return all;
}

std::optional<RunState> of_first(Communicator& processes, std::optional<RunState> state) {
  const bool first = processes.rank() == 0;
  Writer written;
  if (first && state) {
    written.add(std::to_string(state->values.size()));
    for (const auto& [name, value] : state->values) {
      written.add(name);
      written.add(value);
    }
    for (const auto& [name, tensor] : state->tensors) {
      written.add(name);
      written.add(std::to_string(static_cast<int>(tensor.scalar_type())));
      written.add(std::to_string(tensor.dim()));
      for (const auto size : tensor.sizes()) written.add(std::to_string(size));
    }
  }
  const auto text = processes.broadcast(written.text());
  if (text.empty()) return std::nullopt;
  if (!first) {
    state.emplace();
    Reader reader(text);
    for (auto left = reader.number(); left > 0; --left) {
      auto name = reader.next();
      state->values[std::move(name)] = reader.next();
    }
    while (!reader.ends()) {
      const auto name = reader.next();
      const auto type = static_cast<at::ScalarType>(reader.number());
      std::vector<std::int64_t> sizes(static_cast<std::size_t>(reader.number()));
      for (auto& size : sizes) size = reader.number();
      state->tensors[name] = at::empty(sizes, type);
    }
  }
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : state->tensors) tensors.push_back(tensor);
  processes.broadcast(tensors);
  return state;
}

}  // namespace graft::train
