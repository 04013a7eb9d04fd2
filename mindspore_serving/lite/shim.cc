// A C interface to the C++ interface of MindSpore Lite 2.0, for ctypes.
//
// The wheel of MindSpore Lite has a Python module for Python 3.7 only. The library below that module is C++ without any
// Python; this file makes it callable from everywhere. `library.py` is its only user and declares every function again.
//
// Conventions: a function that can fail returns 0 (or a null pointer) for failure, and `serving_lite_error` then has the
// reason. No C++ exception leaves this file. A handle may be used by one thread at a time; different handles by
// different threads at the same time.

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <ctime>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "include/api/context.h"
#include "include/api/model.h"
#include "include/api/status.h"
#include "include/api/types.h"
#include "include/registry/converter_context.h"

// Not among the headers of the wheel, though its libraries export it: what receives each line of the log. Declared as in
// glog 0.4, which MindSpore carries under a name of its own.
namespace mindspore_private {
class LogSink {
 public:
  virtual ~LogSink();
  virtual void send(int severity, const char *full_name, const char *base_name, int line, const std::tm *time,
                    const char *message, size_t length) = 0;
  virtual void WaitTillSent();
};
void AddLogSink(LogSink *sink);
}  // namespace mindspore_private

namespace mindspore {
// Likewise: the converter. The object is one shared pointer.
class Converter {
 public:
  Converter();
  void SetSaveType(ModelType type);
  void SetInputShape(const std::map<std::vector<char>, std::vector<int64_t>> &shapes);
  void SetInputFormat(Format format);
  void SetWeightFp16(bool enable);
  Status Convert(converter::FmkType format, const std::vector<char> &model, const std::vector<char> &output,
                 const std::vector<char> &weights);

 private:
  std::shared_ptr<void> data_;
};
}  // namespace mindspore

namespace {
using mindspore::MSTensor;
using mindspore::Status;

constexpr int kWarning = 1;
constexpr size_t kKeptLines = 256;

struct Line {
  int64_t number;
  pid_t thread;
  std::string text;
};

// The latest warnings and errors of the log. A status of Lite says little; what went wrong stands in the log alone. Lite
// writes it to stderr as well.
class LatestLines : public mindspore_private::LogSink {
 public:
  void send(int severity, const char *, const char *, int, const std::tm *, const char *message,
            size_t length) override {
    if (severity < kWarning) return;
    std::lock_guard<std::mutex> guard(lock_);
    lines_.push_back({++count_, static_cast<pid_t>(syscall(SYS_gettid)), std::string(message, length)});
    if (lines_.size() > kKeptLines) lines_.pop_front();
  }

  int64_t count() {
    std::lock_guard<std::mutex> guard(lock_);
    return count_;
  }

  // Lines after the first `begin`: those of the calling thread, or, if it has none, those of any thread: Lite computes
  // on threads of its own.
  std::string since(int64_t begin) {
    std::lock_guard<std::mutex> guard(lock_);
    auto own = static_cast<pid_t>(syscall(SYS_gettid));
    std::string mine, all;
    for (const auto &line : lines_) {
      if (line.number <= begin) continue;
      all += line.text + "\n";
      if (line.thread == own) mine += line.text + "\n";
    }
    return mine.empty() ? all : mine;
  }

 private:
  std::mutex lock_;
  int64_t count_ = 0;
  std::deque<Line> lines_;
};

LatestLines *latest_lines() {
  static LatestLines *sink = [] {
    auto made = new LatestLines;  // never deleted: Lite logs until the process ends
    mindspore_private::AddLogSink(made);
    return made;
  }();
  return sink;
}

thread_local std::string last_error;

// Run `call`; false, with the reason in `last_error`, where its status is no success or it throws.
bool attempt(const std::function<Status()> &call) {
  auto begin = latest_lines()->count();
  std::string text;
  try {
    auto status = call();
    if (status.IsOk()) return true;
    text = status.ToString();
  } catch (const std::exception &error) {
    text = error.what();
  } catch (...) {
    text = "an unknown C++ exception";
  }
  last_error = text + "\n" + latest_lines()->since(begin);
  return false;
}

Status wrong_count(int given, size_t expected) {
  if (given >= 0 && static_cast<size_t>(given) == expected) return Status();
  return Status(mindspore::kLiteInputTensorError, "the model takes " + std::to_string(expected) + " inputs, got " +
                                                      std::to_string(given));
}

bool fail(const std::string &text) {
  last_error = text;
  return false;
}

struct ContextHandle {
  std::shared_ptr<mindspore::Context> context = std::make_shared<mindspore::Context>();
};

struct ModelHandle {
  mindspore::Model model;
  std::vector<MSTensor> inputs;
  std::vector<MSTensor> outputs;
};

std::vector<MSTensor> &tensors_of(void *model, int outputs) {
  auto handle = static_cast<ModelHandle *>(model);
  return outputs ? handle->outputs : handle->inputs;
}

int write_shape(const MSTensor &tensor, int64_t *shape, int capacity) {
  const auto &dims = tensor.Shape();
  for (size_t i = 0; i < dims.size() && i < static_cast<size_t>(capacity); ++i) shape[i] = dims[i];
  return static_cast<int>(dims.size());
}

std::vector<char> chars(const char *text) { return std::vector<char>(text, text + std::strlen(text)); }

const std::map<std::string, mindspore::DataType> kOutputTypes = {
    {"FP32", mindspore::DataType::kNumberTypeFloat32},
    {"FP16", mindspore::DataType::kNumberTypeFloat16},
    {"UINT8", mindspore::DataType::kNumberTypeUInt8}};

bool set_on_gpu(mindspore::GPUDeviceInfo *info, const std::string &option, const std::string &value) {
  if (option == "device_id") {
    info->SetDeviceID(static_cast<uint32_t>(std::stoul(value)));
  } else if (option == "precision_mode") {
    info->SetPrecisionMode(value);
    info->SetEnableFP16(value == "fp16");
  } else {
    return false;
  }
  return true;
}

bool set_on_ascend(mindspore::AscendDeviceInfo *info, const std::string &option, const std::string &value) {
  const std::map<std::string, std::function<void()>> setters = {
      {"device_id", [&] { info->SetDeviceID(static_cast<uint32_t>(std::stoul(value))); }},
      {"insert_op_cfg_path", [&] { info->SetInsertOpConfigPath(value); }},
      {"input_format", [&] { info->SetInputFormat(value); }},
      {"input_shape", [&] { info->SetInputShape(value); }},
      {"output_type", [&] { info->SetOutputType(kOutputTypes.at(value)); }},
      {"precision_mode", [&] { info->SetPrecisionMode(value); }},
      {"op_select_impl_mode", [&] { info->SetOpSelectImplMode(value); }},
      {"fusion_switch_config_path", [&] { info->SetFusionSwitchConfigPath(value); }},
      {"buffer_optimize_mode", [&] { info->SetBufferOptimizeMode(value); }}};
  auto found = setters.find(option);
  if (found == setters.end()) return false;
  found->second();
  return true;
}

bool set_on_device(mindspore::DeviceInfoContext *info, const std::string &option, const std::string &value) {
  switch (info->GetDeviceType()) {
    case mindspore::DeviceType::kCPU:
      if (option != "precision_mode") return false;
      static_cast<mindspore::CPUDeviceInfo *>(info)->SetEnableFP16(value == "fp16");
      return true;
    case mindspore::DeviceType::kGPU:
      return set_on_gpu(static_cast<mindspore::GPUDeviceInfo *>(info), option, value);
    case mindspore::DeviceType::kAscend:
      return set_on_ascend(static_cast<mindspore::AscendDeviceInfo *>(info), option, value);
    default:
      return false;
  }
}

std::string described(mindspore::DeviceInfoContext *info) {
  std::ostringstream text;
  if (info->GetDeviceType() == mindspore::DeviceType::kCPU) {
    auto cpu = static_cast<mindspore::CPUDeviceInfo *>(info);
    text << "device=cpu\nprecision_mode=" << (cpu->GetEnableFP16() ? "fp16" : "origin") << "\n";
  } else if (info->GetDeviceType() == mindspore::DeviceType::kGPU) {
    auto gpu = static_cast<mindspore::GPUDeviceInfo *>(info);
    text << "device=gpu\ndevice_id=" << gpu->GetDeviceID() << "\nprecision_mode=" << gpu->GetPrecisionMode()
         << "\nenable_fp16=" << gpu->GetEnableFP16() << "\n";
  } else {
    auto ascend = static_cast<mindspore::AscendDeviceInfo *>(info);
    auto type = ascend->GetOutputType();
    text << "device=ascend\ndevice_id=" << ascend->GetDeviceID()
         << "\ninsert_op_cfg_path=" << ascend->GetInsertOpConfigPath() << "\ninput_format=" << ascend->GetInputFormat()
         << "\ninput_shape=" << ascend->GetInputShape() << "\noutput_type=";
    for (const auto &known : kOutputTypes) text << (known.second == type ? known.first : "");
    text << "\nprecision_mode=" << ascend->GetPrecisionMode()
         << "\nop_select_impl_mode=" << ascend->GetOpSelectImplMode()
         << "\nfusion_switch_config_path=" << ascend->GetFusionSwitchConfigPath()
         << "\nbuffer_optimize_mode=" << ascend->GetBufferOptimizeMode() << "\n";
  }
  return text.str();
}

std::string described(mindspore::Context *context) {
  std::ostringstream text;
  text << "thread_num=" << context->GetThreadNum() << "\nthread_affinity_core_list=";
  for (auto core : context->GetThreadAffinityCoreList()) text << core << " ";
  text << "\nparallel_num=" << context->GetInterOpParallelNum() << "\n";
  for (const auto &info : context->MutableDeviceInfo()) text << described(info.get());
  return text.str();
}

std::shared_ptr<mindspore::DeviceInfoContext> new_device(const std::string &type) {
  if (type == "cpu") return std::make_shared<mindspore::CPUDeviceInfo>();
  if (type == "gpu") return std::make_shared<mindspore::GPUDeviceInfo>();
  if (type == "ascend") return std::make_shared<mindspore::AscendDeviceInfo>();
  return nullptr;
}
}  // namespace

extern "C" {

// Why the last function that failed in this thread did so: the status, then lines of the log.
const char *serving_lite_error() { return last_error.c_str(); }

void *serving_lite_context_new() { return new ContextHandle; }

void serving_lite_context_free(void *context) { delete static_cast<ContextHandle *>(context); }

// `thread_num` threads compute, and up to `parallel_num` operators run side by side; 0 leaves it to Lite.
void serving_lite_context_threads(void *context, int thread_num, int parallel_num, const int *cores,
                                  int core_count) {
  auto &held = static_cast<ContextHandle *>(context)->context;
  if (thread_num > 0) held->SetThreadNum(thread_num);
  if (parallel_num > 0) held->SetInterOpParallelNum(parallel_num);
  if (core_count > 0) held->SetThreadAffinity(std::vector<int>(cores, cores + core_count));
}

int serving_lite_context_add_device(void *context, const char *device_type) {
  auto made = new_device(device_type);
  if (made == nullptr) return fail(std::string("unknown device type ") + device_type);
  static_cast<ContextHandle *>(context)->context->MutableDeviceInfo().push_back(made);
  return 1;
}

// Set an option of the device that was added last.
int serving_lite_context_set(void *context, const char *option, const char *value) {
  auto &devices = static_cast<ContextHandle *>(context)->context->MutableDeviceInfo();
  bool known = false;
  bool done = attempt([&] {
    known = !devices.empty() && set_on_device(devices.back().get(), option, value);
    return Status();
  });
  return done && (known || fail(std::string("unknown option ") + option));
}

// Write what the context holds as lines `name=value`, cut off at `capacity`; returns the full length.
int64_t serving_lite_context_describe(void *context, char *text, int64_t capacity) {
  auto full = described(static_cast<ContextHandle *>(context)->context.get());
  if (capacity > 0) std::strncpy(text, full.c_str(), static_cast<size_t>(capacity));
  return static_cast<int64_t>(full.size());
}

// Load a model. `model_type`: 0 for MindIR, 4 for the .ms format. `config_file` may be null.
void *serving_lite_model_load(const char *path, int model_type, void *context, const char *config_file) {
  std::unique_ptr<ModelHandle> handle;
  bool loaded = attempt([&] {
    handle = std::make_unique<ModelHandle>();
    if (config_file != nullptr) {
      auto status = handle->model.LoadConfig(config_file);
      if (status.IsError()) return status;
    }
    auto status = handle->model.Build(std::string(path), static_cast<mindspore::ModelType>(model_type),
                                      static_cast<ContextHandle *>(context)->context);
    if (status.IsError()) return status;
    handle->inputs = handle->model.GetInputs();
    handle->outputs = handle->model.GetOutputs();
    return status;
  });
  return loaded ? handle.release() : nullptr;
}

void serving_lite_model_free(void *model) { delete static_cast<ModelHandle *>(model); }

int serving_lite_count(void *model, int outputs) { return static_cast<int>(tensors_of(model, outputs).size()); }

// Name and shape of a tensor; returns the number of its dimensions, of which at most `capacity` are written, or -1
// where there is no such tensor.
int serving_lite_describe(void *model, int outputs, int index, char *name, int name_capacity, int *data_type,
                          int64_t *shape, int capacity) {
  auto &tensors = tensors_of(model, outputs);
  if (index < 0 || static_cast<size_t>(index) >= tensors.size()) return -1;
  auto &tensor = tensors[static_cast<size_t>(index)];
  std::strncpy(name, tensor.Name().c_str(), static_cast<size_t>(name_capacity));
  *data_type = static_cast<int>(tensor.DataType());
  return write_shape(tensor, shape, capacity);
}

// Give all inputs new shapes: `dims` has those of all inputs one after the other, `ranks` the number of each.
int serving_lite_resize(void *model, int count, const int64_t *dims, const int *ranks) {
  auto handle = static_cast<ModelHandle *>(model);
  return attempt([&]() -> Status {
    auto inputs = handle->model.GetInputs();
    if (auto wrong = wrong_count(count, inputs.size()); wrong.IsError()) return wrong;
    std::vector<std::vector<int64_t>> shapes;
    for (size_t i = 0; i < inputs.size(); dims += ranks[i++]) shapes.emplace_back(dims, dims + ranks[i]);
    auto status = handle->model.Resize(inputs, shapes);
    if (status.IsError()) return status;
    handle->inputs = handle->model.GetInputs();
    handle->outputs = handle->model.GetOutputs();
    return status;
  });
}

// Run the model with copies of the inputs. What it gives stays in the handle until the next run or resize.
int serving_lite_predict(void *model, int count, const void *const *data, const int64_t *sizes) {
  auto handle = static_cast<ModelHandle *>(model);
  return attempt([&]() -> Status {
    if (auto wrong = wrong_count(count, handle->inputs.size()); wrong.IsError()) return wrong;
    for (size_t i = 0; i < handle->inputs.size(); ++i) {
      auto &input = handle->inputs[i];
      if (static_cast<int64_t>(input.DataSize()) != sizes[i])
        return Status(mindspore::kLiteInputTensorError, "input " + std::to_string(i) + " takes " +
                                                            std::to_string(input.DataSize()) + " bytes, got " +
                                                            std::to_string(sizes[i]));
      auto target = input.MutableData();
      if (target == nullptr && sizes[i] > 0)
        return Status(mindspore::kLiteInputTensorError, "input " + std::to_string(i) + " has no memory");
      std::memcpy(target, data[i], static_cast<size_t>(sizes[i]));
    }
    std::vector<MSTensor> outputs;
    auto status = handle->model.Predict(handle->inputs, &outputs);
    if (status.IsOk()) handle->outputs = std::move(outputs);
    return status;
  });
}

// An output of the last run: where its data is, its bytes, and its shape, of which at most `capacity` dimensions are
// written.
const void *serving_lite_output(void *model, int index, int64_t *size, int64_t *shape, int capacity, int *rank) {
  auto &outputs = tensors_of(model, 1);
  if (index < 0 || static_cast<size_t>(index) >= outputs.size()) return nullptr;
  auto &output = outputs[static_cast<size_t>(index)];
  *size = static_cast<int64_t>(output.DataSize());
  *rank = write_shape(output, shape, capacity);
  return output.MutableData();
}

// Convert a model file. `format`: 2 for ONNX, 3 for MindIR. `save_type`: 0 for MindIR, 4 for the .ms format. `names` and
// the shapes, as in `serving_lite_resize`, fix the shapes of inputs; Lite adds the ending to `output`. Inputs of four
// dimensions stay as they are: without a format, Lite would have .ms files take NHWC instead of NCHW.
int serving_lite_convert(int format, const char *model, const char *output, int save_type, int count,
                         const char *const *names, const int64_t *dims, const int *ranks, int weight_fp16) {
  return attempt([&] {
    mindspore::Converter converter;
    converter.SetSaveType(static_cast<mindspore::ModelType>(save_type));
    converter.SetInputFormat(mindspore::Format::NCHW);
    converter.SetWeightFp16(weight_fp16 != 0);
    std::map<std::vector<char>, std::vector<int64_t>> shapes;
    for (int i = 0; i < count; dims += ranks[i++])
      shapes[chars(names[i])] = std::vector<int64_t>(dims, dims + ranks[i]);
    if (count > 0) converter.SetInputShape(shapes);
    return converter.Convert(static_cast<mindspore::converter::FmkType>(format), chars(model), chars(output), {});
  });
}
}
