/// Cases for std::visit, one for each alternative.
#pragma once

namespace graft::base {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

}  // namespace graft::base
