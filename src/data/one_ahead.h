/// Takes an item's turn before it is asked for.
#pragma once

#include <exception>
#include <functional>
#include <optional>
#include <utility>

namespace graft::data {

/// Items of a producer, in order, the next of which may be held ready. One thread at a time.
template <class Item>
class OneAhead {
 public:
  /// Nothing, or an exception, is passed on when it is its turn.
  using Produce = std::function<std::optional<Item>()>;
  explicit OneAhead(Produce produce) : produce_(std::move(produce)) {}

  std::optional<Item> next() {
    if (const auto failure = std::exchange(failure_, nullptr)) std::rethrow_exception(failure);
    return held_ ? std::exchange(held_, std::nullopt) : produce_();
  }
  /// Makes what next() returns. Only after a next().
  void prepare() {
    try {
      held_ = produce_();
    } catch (...) {  // the caller has an item to work on first
      failure_ = std::current_exception();
    }
  }
  /// Whether an item was made that next() has not returned.
  bool is_ahead() const { return held_ || failure_; }
  void clear() {
    held_.reset();
    failure_ = nullptr;
  }

 private:
  Produce produce_;
  std::optional<Item> held_;
  std::exception_ptr failure_;
};

}  // namespace graft::data
