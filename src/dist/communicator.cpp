#include <graft/communicator.h>

#include <exception>
#include <utility>

#include <ATen/ops/zeros.h>

#include <graft/error.h>

#include "base/translate.h"
#include "dist/message.h"

namespace graft {

namespace {

std::string to_text(const std::map<std::string, std::string>& named) {
  dist::MessageWriter written;
  for (const auto& [name, value] : named) {
    written.add(name);
    written.add(value);
  }
  return written.text();
}

std::map<std::string, std::string> from_text(const std::string& text) {
  std::map<std::string, std::string> named;
  for (dist::MessageReader reader(text); !reader.ends();) {
    auto name = reader.next();
    named[std::move(name)] = reader.next();
  }
  return named;
}

/// Put off.
class Deferred final : public Communicator::Pending {
 public:
  Deferred(Communicator& processes, const std::vector<at::Tensor>& tensors)
      : processes_(processes), tensors_(tensors) {}
  ~Deferred() override {
    if (waited_) return;
    try {  // the others call it too
      for (auto& tensor : tensors_) tensor = tensor.clone();
      wait();
    } catch (const std::exception&) {
      // Nobody asks for the result.
    }
  }
  void advance() override {}
  void wait() override {
    waited_ = true;
    processes_.sum(tensors_);
  }

 private:
  Communicator& processes_;
  std::vector<at::Tensor> tensors_;
  bool waited_ = false;
};

}  // namespace

Communicator::~Communicator() = default;
Communicator::Pending::~Pending() = default;

bool Communicator::sums_on(Device) { return false; }

std::unique_ptr<Communicator::Pending> Communicator::start_sum(const std::vector<at::Tensor>& tensors) {
  return std::make_unique<Deferred>(*this, tensors);
}

void Communicator::barrier() { any(false); }

bool Communicator::any(bool value) {
  const auto count = at::zeros({1}, at::kLong);
  *count.mutable_data_ptr<std::int64_t>() = value ? 1 : 0;
  sum({count});
  return *count.const_data_ptr<std::int64_t>() > 0;
}

void Communicator::require_same(const std::map<std::string, std::string>& named) {
  base::translated("comparing processes", [&] {
    const auto all = all_gather(to_text(named));
    const auto first = from_text(all.front());
    std::string differences;
    for (std::size_t rank = 1; rank < all.size(); ++rank) {
      const auto other = from_text(all[rank]);
      auto names = first;
      names.insert(other.begin(), other.end());
      for (const auto& [name, unused] : names) {
        const auto of = [&key = name](const auto& values) {  // Clang before 16 captures no structured binding
          const auto it = values.find(key);
          return it == values.end() ? std::string("none") : it->second;
        };
        if (of(first) == of(other)) continue;
        differences += (differences.empty() ? "" : "; ") + name + ": rank 0 has " + of(first) + ", rank " +
                       std::to_string(rank) + " has " + of(other);
      }
      if (!differences.empty()) break;  // the others will say the same
    }
    if (!differences.empty())
      throw Error(ErrorCode::kMismatch, "the processes do not work on the same: " + differences);
  });
}

}  // namespace graft
