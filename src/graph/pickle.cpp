#include "graph/pickle.h"

#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <vector>

#include <graft/error.h>

#include "base/little_endian.h"

namespace graft::graph {

namespace {

/// The instructions of protocol 2 that LibTorch knows.
enum class Op : std::uint8_t {
  kMark = '(',
  kEmptyTuple = ')',
  kStop = '.',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kPersistent = 'Q',
  kReduce = 'R',
  kUnicode = 'X',
  kEmptyList = ']',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kAppends = 'e',
  kGet = 'h',
  kLongGet = 'j',
  kList = 'l',
  kPut = 'q',
  kLongPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kProtocol = 0x80,
  kNewObject = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kTrue = 0x88,
  kFalse = 0x89,
  kLong1 = 0x8a,
};

enum class Kind { kPlain, kInteger, kText, kTuple, kList, kDict, kStorage, kTensor, kObject, kElementType, kFunction };

/// The functions that a pickle may call.
enum class Function { kNone, kTensor, kQuantizedTensor, kTypedList, kTypeTag, kHooks, kComplex, kDevice, kClass };

struct Value {
  Kind kind = Kind::kPlain;
  std::int64_t number = 0;     ///< kInteger; kElementType: bytes of one; kStorage: elements
  std::string_view text = {};  ///< kText
  Function function = Function::kNone;
  std::vector<const Value*> items = {};  ///< kTuple
  std::size_t depth = 0;                 ///< of what is inside it
  bool filled = false;                   ///< kList, kDict: has its items, or is itself one
};

struct NamedFunction {
  std::string_view module, name;
  Function function;
};
constexpr std::array kFunctions{
    NamedFunction{"torch._utils", "_rebuild_tensor_v2", Function::kTensor},
    NamedFunction{"torch._utils", "_rebuild_qtensor", Function::kQuantizedTensor},
    NamedFunction{"torch.jit._pickle", "build_intlist", Function::kTypedList},
    NamedFunction{"torch.jit._pickle", "build_tensorlist", Function::kTypedList},
    NamedFunction{"torch.jit._pickle", "build_doublelist", Function::kTypedList},
    NamedFunction{"torch.jit._pickle", "build_boollist", Function::kTypedList},
    NamedFunction{"torch.jit._pickle", "restore_type_tag", Function::kTypeTag},
    NamedFunction{"collections", "OrderedDict", Function::kHooks},
    NamedFunction{"builtins", "complex", Function::kComplex},
    NamedFunction{"torch", "device", Function::kDevice},
};

struct ElementType {
  std::string_view name;
  std::int64_t bytes;
};
constexpr std::array kElementTypes{
    ElementType{"FloatStorage", 4},         ElementType{"DoubleStorage", 8},
    ElementType{"HalfStorage", 2},          ElementType{"BFloat16Storage", 2},
    ElementType{"LongStorage", 8},          ElementType{"IntStorage", 4},
    ElementType{"ShortStorage", 2},         ElementType{"CharStorage", 1},
    ElementType{"ByteStorage", 1},          ElementType{"BoolStorage", 1},
    ElementType{"ComplexFloatStorage", 8},  ElementType{"ComplexDoubleStorage", 16},
    ElementType{"ComplexHalfStorage", 4},   ElementType{"QInt8Storage", 1},
    ElementType{"QUInt8Storage", 1},        ElementType{"QInt32Storage", 4},
    ElementType{"Float8_e4m3fnStorage", 1}, ElementType{"Float8_e5m2Storage", 1},
};
constexpr std::array<std::string_view, 5> kQuantizationSchemes{"per_tensor_affine", "per_channel_affine",
                                                               "per_tensor_symmetric", "per_channel_symmetric",
                                                               "per_channel_affine_float_qparams"};

constexpr std::size_t kDeepest = 200;
constexpr std::int64_t kMostRepeated = 1 << 20;  // elements of a tensor that repeats itself, by strides of 0

[[noreturn]] void refuse(const std::string& found, ErrorCode code = ErrorCode::kFormat) {
  throw Error(code, "expected a pickle as TorchScript writes it, found " + found);
}

/// A number of elements or bytes; nothing if there are too many to count.
std::optional<std::int64_t> product(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  return __builtin_mul_overflow(a, b, &result) ? std::nullopt : std::optional(result);
}
std::optional<std::int64_t> sum(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  return __builtin_add_overflow(a, b, &result) ? std::nullopt : std::optional(result);
}

class Follower {
 public:
  Follower(std::span<const std::byte> pickle, const RecordSize& record_size, std::uint64_t most_read)
      : left_(pickle), record_size_(record_size), size_(pickle.size()), most_read_(most_read) {}

  void run() {
    if (next_op() != Op::kProtocol || number(1) != 2) refuse("another protocol than 2");
    for (auto op = next_op(); op != Op::kStop; op = next_op()) step(op);
    if (stack_.size() != 1 || !marks_.empty()) refuse("one that leaves " + std::to_string(stack_.size()) + " values");
    if (!left_.empty()) refuse("bytes behind its end");
  }

 private:
  void step(Op op) {
    switch (op) {
      case Op::kNone:
      case Op::kTrue:
      case Op::kFalse:
        return push({});
      case Op::kBinFloat:
        take(8);
        return push({});
      case Op::kBinInt1:
        return push({.kind = Kind::kInteger, .number = static_cast<std::int64_t>(number(1))});
      case Op::kBinInt2:
        return push({.kind = Kind::kInteger, .number = static_cast<std::int64_t>(number(2))});
      case Op::kBinInt:
        return push({.kind = Kind::kInteger, .number = static_cast<std::int32_t>(number(4))});
      case Op::kLong1:
        if (number(1) != 8) refuse("a number that does not have 64 bits");
        return push({.kind = Kind::kInteger, .number = static_cast<std::int64_t>(number(8))});
      case Op::kUnicode:
        return push({.kind = Kind::kText, .text = text(number(4))});
      case Op::kMark:
        return marks_.push_back(stack_.size());
      case Op::kEmptyTuple:
        return push({.kind = Kind::kTuple});
      case Op::kTuple:
        return push_tuple(pop_to_mark());
      case Op::kTuple1:
      case Op::kTuple2:
      case Op::kTuple3:
        return push_tuple(pop(static_cast<std::size_t>(op) - static_cast<std::size_t>(Op::kTuple1) + 1));
      case Op::kEmptyList:
        return push({.kind = Kind::kList});
      case Op::kEmptyDict:
        return push({.kind = Kind::kDict});
      case Op::kList:
      case Op::kDict: {
        const auto items = pop_to_mark();
        push({.kind = op == Op::kList ? Kind::kList : Kind::kDict});
        return fill(items);
      }
      case Op::kAppends:
        return fill_top(Kind::kList, pop_to_mark());
      case Op::kSetItems:
        return fill_top(Kind::kDict, pop_to_mark());
      case Op::kSetItem:
        return fill_top(Kind::kDict, pop(2));
      case Op::kPut:
        return memorise(number(1));
      case Op::kLongPut:
        return memorise(number(4));
      case Op::kGet:
        return stack_.push_back(recall(number(1)));
      case Op::kLongGet:
        return stack_.push_back(recall(number(4)));
      case Op::kGlobal:
        return push_global();
      case Op::kNewObject:
        if (pop(1)[0]->kind != Kind::kTuple || top().function != Function::kClass) refuse("an object of no class");
        return;
      case Op::kBuild:
      case Op::kReduce:
        return call();
      case Op::kPersistent:
        return push_storage();
      case Op::kProtocol:
      case Op::kStop:
        break;
    }
    refuse("the instruction " + std::to_string(static_cast<int>(op)) + " at byte " +
           std::to_string(size_ - left_.size() - 1));
  }

  // --- Bytes

  std::span<const std::byte> take(std::size_t count) {
    if (count > left_.size()) refuse("one that is cut off");
    const auto taken = left_.first(count);
    left_ = left_.subspan(count);
    return taken;
  }
  Op next_op() { return static_cast<Op>(take(1)[0]); }
  std::uint64_t number(std::size_t bytes) { return base::little_endian(take(bytes)); }
  std::string_view text(std::size_t count) {
    const auto bytes = take(count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string_view line() {
    const auto end = std::ranges::find(left_, std::byte{'\n'});
    const auto words = text(static_cast<std::size_t>(end - left_.begin()));
    take(1);
    const auto named = [](char c) {
      return c == '_' || c == '.' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    };
    if (words.empty() || !std::ranges::all_of(words, named)) refuse("a name that is none");
    return words;
  }

  // --- The stack. What lies below the last mark is out of reach.

  void push(Value value) { stack_.push_back(&values_.emplace_back(std::move(value))); }
  std::size_t reachable() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }
  Value& top() {
    if (reachable() < 1) refuse("an instruction without its operand");
    return *stack_.back();
  }
  std::vector<const Value*> pop(std::size_t count) {
    if (reachable() < count) refuse("an instruction without its operands");
    std::vector<const Value*> popped;
    for (auto i = stack_.size() - count; i < stack_.size(); ++i) {
      stack_[i]->filled = true;  // an item of something: what is inside it stays as it is
      popped.push_back(stack_[i]);
    }
    stack_.resize(stack_.size() - count);
    return popped;
  }
  std::vector<const Value*> pop_to_mark() {
    if (marks_.empty()) refuse("the end of a container that was not begun");
    auto popped = pop(reachable());
    marks_.pop_back();
    return popped;
  }

  void memorise(std::uint64_t index) {
    // LibTorch makes room for all numbers up to this one; the writer counts.
    if (index > memo_.size())
      refuse("memo number " + std::to_string(index) + " after " + std::to_string(memo_.size()), ErrorCode::kLimit);
    if (index == memo_.size()) memo_.emplace_back();
    memo_[index] = &top();
  }
  Value* recall(std::uint64_t index) const {
    if (index >= memo_.size()) refuse("a memo number that was not given");
    return memo_[index];
  }

  // --- Containers

  static std::size_t depth_of(const std::vector<const Value*>& items) {
    std::size_t depth = 0;
    for (const auto* item : items) depth = std::max(depth, item->depth + 1);
    if (depth > kDeepest)
      refuse("containers nested more than " + std::to_string(kDeepest) + " deep", ErrorCode::kLimit);
    return depth;
  }

  void push_tuple(std::vector<const Value*> items) {
    const auto depth = depth_of(items);
    push({.kind = Kind::kTuple, .items = std::move(items), .depth = depth});
  }

  /// A container is filled once, and before it becomes an item: it is never inside itself.
  void fill_top(Kind kind, const std::vector<const Value*>& items) {
    if (top().kind != kind || top().filled) refuse("items for what is no empty container");
    fill(items);
  }
  void fill(const std::vector<const Value*>& items) {
    auto& container = top();
    if (container.kind == Kind::kDict) {
      if (items.size() % 2 != 0) refuse("a key without a value");
      for (std::size_t i = 0; i < items.size(); i += 2)
        if (items[i]->kind != Kind::kText && items[i]->kind != Kind::kInteger && items[i]->kind != Kind::kPlain)
          refuse("a key that is neither text nor a number");
    }
    container.filled = container.kind == Kind::kList || !items.empty();
    container.depth = depth_of(items);
  }

  // --- Names and calls

  void push_global() {
    const auto module = line(), name = line();
    if (module == "__torch__" || module.starts_with("__torch__."))
      return push({.kind = Kind::kFunction, .function = Function::kClass});
    const auto* const function = std::ranges::find_if(
        kFunctions, [&](const NamedFunction& known) { return known.module == module && known.name == name; });
    if (function != kFunctions.end()) return push({.kind = Kind::kFunction, .function = function->function});
    const auto* const element = std::ranges::find(kElementTypes, name, &ElementType::name);
    if (module == "torch" && element != kElementTypes.end())
      return push({.kind = Kind::kElementType, .number = element->bytes});
    if (module == "torch" && std::ranges::find(kQuantizationSchemes, name) != kQuantizationSchemes.end())
      return push({.kind = Kind::kPlain});
    refuse("the name " + std::string(module) + "." + std::string(name) + ", which TorchScript files do not use");
  }

  void call() {
    const auto operands = pop(2);
    const Value& argument = *operands[1];
    const auto& items = argument.items;
    const auto expect = [&](bool fine) {
      if (!fine) refuse("a call with other arguments than it takes");
    };
    expect(operands[0]->kind == Kind::kFunction);
    const auto function = operands[0]->function;
    expect(function == Function::kClass || argument.kind == Kind::kTuple);
    switch (function) {
      case Function::kTensor:
      case Function::kQuantizedTensor:
        expect(items.size() == 6 || items.size() == 7);
        check_tensor(*items[0], *items[1], *items[2], *items[3]);
        return push({.kind = Kind::kTensor});
      case Function::kTypedList:
        expect(items.size() == 1 && items[0]->kind == Kind::kList);
        return push({.kind = Kind::kList, .depth = argument.depth, .filled = true});
      case Function::kTypeTag:
        expect(items.size() == 2 && (items[0]->kind == Kind::kList || items[0]->kind == Kind::kDict) &&
               items[1]->kind == Kind::kText && nesting(items[1]->text) <= kDeepestNesting);
        return push({.kind = items[0]->kind, .depth = argument.depth, .filled = true});
      case Function::kHooks:
        return push({});
      case Function::kComplex:
        expect(items.size() == 2);
        return push({});
      case Function::kDevice:
        expect(items.size() == 1 && items[0]->kind == Kind::kText);
        return push({});
      case Function::kClass:
        return push({.kind = Kind::kObject, .depth = depth_of({&argument})});
      case Function::kNone:
        break;
    }
    refuse("a call of what is no function");
  }

  // --- Tensors

  /// ("storage", element type, key, device, elements)
  void push_storage() {
    const auto popped = pop(1);
    const auto& items = popped[0]->items;
    if (popped[0]->kind != Kind::kTuple || items.size() != 5 || items[0]->text != "storage" ||
        items[1]->kind != Kind::kElementType || items[2]->kind != Kind::kText || items[3]->kind != Kind::kText ||
        items[4]->kind != Kind::kInteger)
      refuse("a reference that is none to a tensor's storage");
    const auto elements = items[4]->number;
    const auto bytes = product(elements, items[1]->number);
    if (elements < 0 || !bytes) refuse("a storage of " + std::to_string(elements) + " elements");
    const auto record = record_size_(items[2]->text);
    if (elements > 0 && record != static_cast<std::uint64_t>(*bytes))
      refuse("a storage of " + std::to_string(*bytes) + " bytes, \"" + std::string(items[2]->text) +
             "\", whose record " + (record ? "has " + std::to_string(*record) : std::string("is missing")));
    // LibTorch reads a record anew for each reference; the writer refers to it once.
    read_ += static_cast<std::uint64_t>(*bytes);
    if (read_ > most_read_)
      refuse("storages of more than " + std::to_string(most_read_) + " bytes together", ErrorCode::kLimit);
    push({.kind = Kind::kStorage, .number = elements});
  }

  void check_tensor(const Value& storage, const Value& offset, const Value& sizes, const Value& strides) const {
    if (storage.kind != Kind::kStorage || offset.kind != Kind::kInteger || sizes.kind != Kind::kTuple ||
        strides.kind != Kind::kTuple || sizes.items.size() != strides.items.size())
      refuse("a tensor without storage, shape or strides");
    std::optional<std::int64_t> last = offset.number, count = 1;
    for (std::size_t i = 0; i < sizes.items.size(); ++i) {
      const Value &size = *sizes.items[i], &stride = *strides.items[i];
      if (size.kind != Kind::kInteger || stride.kind != Kind::kInteger || size.number < 0 || stride.number < 0)
        refuse("a tensor with a shape that is none");
      count = count ? product(*count, size.number) : count;
      const auto step = product(size.number - 1, stride.number);
      last = last && step ? sum(*last, *step) : std::nullopt;
    }
    if (offset.number < 0 || !count || (*count > 0 && (!last || *last >= storage.number)))
      refuse("a tensor that reaches beyond its storage of " + std::to_string(storage.number) + " elements");
    if (*count > std::max(storage.number, kMostRepeated))
      refuse("a tensor of " + std::to_string(*count) + " elements that are " + std::to_string(storage.number),
             ErrorCode::kLimit);
  }

  std::span<const std::byte> left_;
  const RecordSize& record_size_;
  std::size_t size_;
  std::uint64_t most_read_, read_ = 0;  ///< bytes of storages
  std::deque<Value> values_;
  std::vector<Value*> stack_, memo_;
  std::vector<std::size_t> marks_;
};

}  // namespace

void check_pickle(std::span<const std::byte> pickle, const RecordSize& record_size, std::uint64_t most_read) {
  Follower(pickle, record_size, most_read).run();
}

std::size_t nesting(std::string_view source) {
  // An expression's depth is at most the operators before it, since the last comma, in each bracket that is open; a
  // block's, its indentation, and the elif before it.
  std::vector<std::size_t> open{0};
  std::size_t total = 0, deepest = 0, indentation = 0, elifs = 0;
  char quote = 0;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const char c = source[i];
    if (quote != 0) {
      if (c == '\\') ++i;
      if (c == quote || c == '\n') quote = 0;
      continue;
    }
    const bool word_begins = c >= 'a' && c <= 'z' && (i == 0 || source[i - 1] == ' ' || source[i - 1] == '\n');
    const auto rest = source.substr(i);
    const bool operator_word =
        word_begins && (rest.starts_with("not ") || rest.starts_with("and ") || rest.starts_with("or ") ||
                        rest.starts_with("if ") || rest.starts_with("else"));
    if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '(' || c == '[' || c == '{') {
      open.push_back(0);
      ++total;
    } else if ((c == ')' || c == ']' || c == '}') && open.size() > 1) {
      total -= open.back() + 1;
      open.pop_back();
      ++open.back();  // what is called or indexed next is one deeper
      ++total;
    } else if (c == ',' || (c == '\n' && open.size() == 1)) {
      total -= open.back();
      open.back() = 0;
    } else if (std::string_view("+-*/%@<>&|^~.").find(c) != std::string_view::npos || operator_word) {
      ++open.back();
      ++total;
    }
    if (c == '\n') indentation = std::min(rest.find_first_not_of(' ', 1), rest.size()) / 2;
    if (word_begins && rest.starts_with("elif")) ++elifs;
    deepest = std::max(deepest, total + indentation + elifs);
  }
  return deepest;
}

}  // namespace graft::graph
