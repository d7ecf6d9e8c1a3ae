#include "train/together.h"

#include <string>
#include <utility>

#include <ATen/ops/empty.h>

#include "dist/message.h"

namespace graft::train {

using dist::MessageReader;
using dist::MessageWriter;

BatchShare share_of(const Communicator* processes, bool by_example) {
  if (!processes) return {};
  return {processes->rank(), processes->size(), by_example};
}

std::vector<BadImage> of_all(Communicator* processes, std::vector<BadImage> mine) {
  if (!processes) return mine;
  MessageWriter written;
  for (const auto& bad : mine) {
    written.add(bad.name);
    written.add(bad.message);
  }
  std::vector<BadImage> all;
  for (const auto& text : processes->all_gather(written.text()))
    for (MessageReader reader(text); !reader.ends();) {
      auto name = reader.next();
      all.push_back({std::move(name), reader.next()});
    }
  return all;
}

std::optional<RunState> of_first(Communicator& processes, std::optional<RunState> state) {
  const bool first = processes.rank() == 0;
  MessageWriter written;
  if (first && state) {
    written.add(std::ssize(state->values));
    for (const auto& [name, value] : state->values) {
      written.add(name);
      written.add(value);
    }
    for (const auto& [name, tensor] : state->tensors) {
      written.add(name);
      written.add(static_cast<std::int64_t>(tensor.scalar_type()));
      written.add(tensor.dim());
      for (const auto size : tensor.sizes()) written.add(size);
    }
  }
  const auto text = processes.broadcast(written.text());
  if (text.empty()) return std::nullopt;
  if (!first) {
    state.emplace();
    MessageReader reader(text);
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
