/// Cases for std::visit, one for each alternative.
#pragma once

namespace graft::base {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

template <class... Cases>  // clang++ deduces these only since version 17
Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace graft::base
