// Asks for the sum of two matrices with the Open Inference Protocol, as clients of Triton and KServe do.
//
// Usage: open_inference_client [ip:port]

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "open_inference.grpc.pb.h"

using inference::GRPCInferenceService;

namespace {

constexpr std::chrono::seconds kTimeout{30};

// Every call has a deadline: the server drops what nobody waits for any more.
void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + kTimeout);
}

// Prints name, type and shape of each input and output of a model.
grpc::Status PrintModel(GRPCInferenceService::Stub* stub, const std::string& model) {
  grpc::ClientContext context;
  SetDeadline(&context);
  inference::ModelMetadataRequest request;
  inference::ModelMetadataResponse reply;
  request.set_name(model);
  const grpc::Status status = stub->ModelMetadata(&context, request, &reply);
  if (!status.ok()) return status;
  const auto print = [](const char* kind, const auto& tensors) {
    for (const auto& tensor : tensors) {
      std::cout << kind << " " << tensor.name() << " " << tensor.datatype() << " [";
      for (int i = 0; i < tensor.shape_size(); ++i) std::cout << (i ? ", " : "") << tensor.shape(i);
      std::cout << "]\n";
    }
  };
  print("input ", reply.inputs());
  print("output", reply.outputs());
  return status;
}

// Adds an input: its shape is in the request, and its bytes, little-endian, are beside it.
void AddInput(inference::ModelInferRequest* request, const std::string& name, const std::vector<int64_t>& shape,
              const std::vector<float>& values) {
  auto* input = request->add_inputs();
  input->set_name(name);
  input->set_datatype("FP32");
  for (const int64_t size : shape) input->add_shape(size);
  request->add_raw_input_contents(values.data(), values.size() * sizeof(float));
}

// Prints x1 + x2, or the error that the server answers with.
grpc::Status PrintSum(GRPCInferenceService::Stub* stub, const std::string& model, const std::vector<int64_t>& shape,
                      const std::vector<float>& x1, const std::vector<float>& x2) {
  grpc::ClientContext context;
  SetDeadline(&context);
  inference::ModelInferRequest request;
  inference::ModelInferResponse reply;
  request.set_model_name(model);
  AddInput(&request, "x1", shape, x1);
  AddInput(&request, "x2", shape, x2);
  const grpc::Status status = stub->ModelInfer(&context, request, &reply);
  if (!status.ok()) {
    std::cout << "gRPC status " << status.error_code() << ": " << status.error_message() << "\n";
    return status;
  }
  const std::string& raw = reply.raw_output_contents(0);
  std::vector<float> y(raw.size() / sizeof(float));
  std::memcpy(y.data(), raw.data(), raw.size());
  std::cout << reply.outputs(0).name() << " =";
  for (const float value : y) std::cout << " " << value;
  std::cout << "\n";
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string address = argc > 1 ? argv[1] : "127.0.0.1:5500";
  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  const auto stub = GRPCInferenceService::NewStub(channel);
  if (const grpc::Status status = PrintModel(stub.get(), "add"); !status.ok()) {
    std::cerr << "The server at " << address << " does not answer: " << status.error_message() << "\n";
    return 1;
  }
  const bool sum_came = PrintSum(stub.get(), "add", {2, 2}, {1, 2, 3, 4}, {10, 20, 30, 40}).ok();
  const bool fault_was_found = !PrintSum(stub.get(), "add", {3}, {1, 2, 3}, {10, 20, 30}).ok();
  return sum_came && fault_was_found ? 0 : 1;
}
