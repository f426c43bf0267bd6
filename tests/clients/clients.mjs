// Drives a server by the official clients: node clients.mjs URL. Fails at the first thing that is not as it should be.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';

const url = process.argv[2];
const key = 'sk-anything';
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const model = 'nano';
const plain = { model, temperature: 0, enable_thinking: false, max_tokens: 200 };
const ask = (content) => [{ role: 'user', content }];

const parameters = {
  type: 'object',
  properties: { minutes: { type: 'integer', description: 'Length in minutes' }, label: { type: 'string', description: 'Name of the timer' } },
  required: ['minutes'],
};
const tools = [{ type: 'function', function: { name: 'set_timer', description: 'Start a timer', parameters } }];
const claudeTools = [{ name: 'set_timer', description: 'Start a timer', input_schema: parameters }];
const schema = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer' }, city: { type: 'string' } },
  required: ['name', 'age', 'city'],
  additionalProperties: false,
};
const facts = 'Return JSON with the keys name, age and city. Kate is 70 years old and lives in New York.';

const tests = {
  async 'openai: models'() {
    const list = await openai.models.list();
    assert.equal(list.data[0].id, model);
    assert.equal((await openai.models.retrieve(model)).id, model);
  },

  async 'openai: a chat, and the same streamed'() {
    const messages = ask('What is the capital of France?');
    const whole = await openai.chat.completions.create({ ...plain, messages });
    assert.equal(whole.choices[0].finish_reason, 'stop');
    assert.match(whole.choices[0].message.content, /Paris/);
    assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
    const stream = await openai.chat.completions.create({ ...plain, messages, stream: true, stream_options: { include_usage: true } });
    let text = '', usage;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
  },

  async 'openai: thinking comes as reasoning_content'() {
    const { enable_thinking, ...rest } = plain;
    const answer = await openai.chat.completions.create({ ...rest, messages: ask('Tom has 3 apples and finds 4. How many?') });
    assert.ok(answer.choices[0].message.reasoning_content.length > 0);
    assert.ok(answer.usage.completion_tokens_details.reasoning_tokens > 0);
  },

  async 'openai: a tools round trip reuses the state of its call'() {
    const messages = ask('Set a timer for 5 minutes.');
    const first = await openai.chat.completions.create({ ...plain, messages, tools });
    assert.equal(first.choices[0].finish_reason, 'tool_calls');
    const call = first.choices[0].message.tool_calls[0];
    assert.equal(call.function.name, 'set_timer');
    assert.equal(JSON.parse(call.function.arguments).minutes, 5);
    messages.push(first.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'ok' });
    const second = await openai.chat.completions.create({ ...plain, messages, tools });
    assert.ok(second.choices[0].message.content || second.choices[0].message.tool_calls);
    assert.equal(second.usage.prompt_tokens_details.cached_tokens, first.usage.total_tokens);
  },

  async 'openai: tool calls streamed, by the stream helper'() {
    const runner = openai.chat.completions.stream({ ...plain, messages: ask('Set a timer for 5 minutes.'), tools, tool_choice: 'required' });
    const final = await runner.finalChatCompletion();
    const call = final.choices[0].message.tool_calls[0];
    assert.deepEqual([call.function.name, JSON.parse(call.function.arguments).minutes], ['set_timer', 5]);
  },

  async 'openai: a named tool is called whatever the question'() {
    const answer = await openai.chat.completions.create({
      ...plain, messages: ask('What is the capital of France?'), tools,
      tool_choice: { type: 'function', function: { name: 'set_timer' } }, parallel_tool_calls: false,
    });
    assert.equal(answer.choices[0].message.tool_calls.length, 1);
    assert.ok(Number.isInteger(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments).minutes));
  },

  async 'openai: a JSON schema is kept, also hot'() {
    for (const temperature of [0, 1, 2]) {
      const answer = await openai.chat.completions.create({
        ...plain, temperature, messages: ask(facts), response_format: { type: 'json_schema', json_schema: { name: 'person', schema, strict: true } },
      });
      const value = JSON.parse(answer.choices[0].message.content);
      assert.deepEqual(Object.keys(value).sort(), ['age', 'city', 'name']);
      assert.ok(Number.isInteger(value.age));
    }
    const object = await openai.chat.completions.create({ ...plain, messages: ask(facts), response_format: { type: 'json_object' } });
    assert.equal(typeof JSON.parse(object.choices[0].message.content), 'object');
  },

  async 'openai: logprobs'() {
    const answer = await openai.chat.completions.create({ ...plain, messages: ask('What is the capital of France?'), logprobs: true, top_logprobs: 3 });
    const content = answer.choices[0].logprobs.content;
    assert.equal(content.length, answer.usage.completion_tokens);
    assert.equal(content[0].top_logprobs.length, 3);
    assert.equal(content[0].token, content[0].top_logprobs[0].token);
  },

  async 'openai: the same seed, the same text'() {
    const request = { ...plain, temperature: 1, seed: 7, messages: ask('Tell me a story.'), max_tokens: 40 };
    const [a, b] = await Promise.all([openai.chat.completions.create(request), openai.chat.completions.create(request)]);
    assert.equal(a.choices[0].message.content, b.choices[0].message.content);
  },

  async 'openai: completions'() {
    const answer = await openai.completions.create({ model, prompt: 'Once upon a time', max_tokens: 8, temperature: 0, logprobs: 2 });
    assert.equal(answer.choices[0].logprobs.tokens.join(''), answer.choices[0].text);
    let text = '';
    for await (const chunk of await openai.completions.create({ model, prompt: 'Once upon a time', max_tokens: 8, temperature: 0, stream: true }))
      text += chunk.choices[0].text;
    assert.equal(text, answer.choices[0].text);
  },

  async 'openai: responses, whole and streamed'() {
    const request = { model, input: 'What is the capital of France?', temperature: 0, reasoning: { effort: 'none' }, max_output_tokens: 100 };
    const whole = await openai.responses.create(request);
    assert.equal(whole.status, 'completed');
    assert.match(whole.output_text, /Paris/);
    assert.equal(whole.usage.total_tokens, whole.usage.input_tokens + whole.usage.output_tokens);
    const types = [];
    let text = '', last, sequence = 0;
    for await (const event of await openai.responses.create({ ...request, stream: true })) {
      assert.equal(event.sequence_number, sequence++);
      types.push(event.type);
      if (event.type === 'response.output_text.delta') text += event.delta;
      last = event;
    }
    assert.equal(text, whole.output_text);
    assert.deepEqual(types.slice(0, 4), ['response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added']);
    assert.deepEqual(types.slice(-4), ['response.output_text.done', 'response.content_part.done', 'response.output_item.done', 'response.completed']);
    assert.equal(last.response.output_text ?? last.response.output[0].content[0].text, text);
    const helped = await openai.responses.stream(request).finalResponse();
    assert.equal(helped.output_text, text);
  },

  async 'openai: a response goes on from the one before, and its state is used'() {
    const request = { model, temperature: 0, reasoning: { effort: 'none' } };
    const first = await openai.responses.create({ ...request, input: 'What is 5 plus 4?', instructions: 'You answer with a number.' });
    const second = await openai.responses.create({ ...request, input: 'And what is 6 plus 4?', previous_response_id: first.id, instructions: 'You answer with a number.' });
    assert.equal(second.previous_response_id, first.id);
    assert.equal(second.usage.input_tokens_details.cached_tokens, first.usage.total_tokens);
    const same = await openai.responses.create({ ...request, instructions: 'You answer with a number.',
      input: [{ role: 'user', content: 'What is 5 plus 4?' }, ...first.output, { role: 'user', content: [{ type: 'input_text', text: 'And what is 6 plus 4?' }] }] });
    assert.equal(same.output_text, second.output_text);
    const forgotten = await openai.responses.create({ ...request, input: 'x', store: false, max_output_tokens: 3 });
    assert.ok(['completed', 'incomplete'].includes(forgotten.status));
    for (const id of [forgotten.id, 'resp_none'])
      await assert.rejects(openai.responses.create({ ...request, input: 'x', previous_response_id: id }),
        (e) => e instanceof OpenAI.BadRequestError && e.param === 'previous_response_id');
  },

  async 'openai: responses call functions, reason, and keep a schema'() {
    const call_tool = { type: 'function', name: 'set_timer', description: 'Start a timer', parameters, strict: false };
    const input = [{ role: 'user', content: 'Set a timer for 5 minutes.' }];
    const request = { model, temperature: 0, reasoning: { effort: 'none' }, tools: [call_tool] };
    const first = await openai.responses.stream({ ...request, input }).finalResponse();
    const call = first.output.find((item) => item.type === 'function_call');
    assert.deepEqual([call.name, JSON.parse(call.arguments).minutes], ['set_timer', 5]);
    const second = await openai.responses.create({ ...request, input: [...input, ...first.output.map(({ parsed_arguments, parsed, ...item }) => item),
      { type: 'function_call_output', call_id: call.call_id, output: 'ok' }] });
    assert.equal(second.usage.input_tokens_details.cached_tokens, first.usage.total_tokens);
    const named = await openai.responses.create({ ...request, input: 'Hello', tool_choice: { type: 'function', name: 'set_timer' }, parallel_tool_calls: false });
    assert.deepEqual(named.output.map((item) => item.type), ['function_call']);
    const thought = await openai.responses.create({ model, temperature: 0, input: 'Tom has 3 apples and finds 4. How many?' });
    assert.equal(thought.output[0].type, 'reasoning');
    assert.ok(thought.usage.output_tokens_details.reasoning_tokens > 0);
    const shaped = await openai.responses.create({ model, temperature: 1, reasoning: { effort: 'none' }, input: facts, text: { format: { type: 'json_schema', name: 'person', schema, strict: true } } });
    assert.deepEqual(Object.keys(JSON.parse(shaped.output_text)).sort(), ['age', 'city', 'name']);
    const cut = await openai.responses.create({ model, temperature: 0, reasoning: { effort: 'none' }, input: 'Tell me a story.', max_output_tokens: 2 });
    assert.deepEqual([cut.status, cut.incomplete_details.reason], ['incomplete', 'max_output_tokens']);
    await assert.rejects(openai.responses.create({ model, input: 'x', tools: [{ type: 'web_search' }] }), OpenAI.BadRequestError);
    await assert.rejects(openai.responses.create({ model, input: 'x', background: true }), OpenAI.BadRequestError);
  },

  async 'openai: errors have their classes'() {
    await assert.rejects(openai.chat.completions.create({ ...plain, model: 'gpt-4', messages: ask('x') }), OpenAI.NotFoundError);
    await assert.rejects(openai.chat.completions.create({ ...plain, n: 3, messages: ask('x') }),
      (e) => e instanceof OpenAI.BadRequestError && e.param === 'n');
    await assert.rejects(openai.embeddings.create({ model, input: 'x' }), OpenAI.NotFoundError);
  },

  async 'openai: an abort frees the place'() {
    const stream = await openai.chat.completions.create({ ...plain, temperature: 2, max_tokens: 4000, messages: ask('Tell me a story.'), stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0].delta.content) break;
    }
    stream.controller.abort();
    for (let i = 0; ; i++) {
      const health = await (await fetch(`${url}/health`)).json();
      if (health.active === 0) break;
      assert.ok(i < 100, 'the place is still taken');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },

  async 'anthropic: a message, and the same streamed'() {
    const request = { model, max_tokens: 100, temperature: 0, system: 'Answer briefly.', messages: ask('What is the capital of France?') };
    const whole = await anthropic.messages.create(request);
    assert.equal(whole.stop_reason, 'end_turn');
    const stream = anthropic.messages.stream(request);
    let text = '';
    stream.on('text', (piece) => { text += piece; });
    const final = await stream.finalMessage();
    assert.equal(text, whole.content[0].text);
    assert.deepEqual(final.content, whole.content);
    assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
    const count = await anthropic.messages.countTokens({ model, system: request.system, messages: request.messages });
    assert.equal(count.input_tokens, whole.usage.input_tokens + whole.usage.cache_read_input_tokens);
  },

  async 'anthropic: thinking'() {
    const request = { model, max_tokens: 300, temperature: 0, thinking: { type: 'enabled', budget_tokens: 20 }, messages: ask('Tom has 3 apples and finds 4. How many?') };
    const final = await anthropic.messages.stream(request).finalMessage();
    assert.equal(final.content[0].type, 'thinking');
    assert.ok(final.content[0].thinking.length > 0);
  },

  async 'anthropic: a tools round trip reuses the state of its call'() {
    const messages = ask('Set a timer for 5 minutes.');
    const request = { model, max_tokens: 300, temperature: 0, tools: claudeTools };
    const first = await anthropic.messages.stream({ ...request, messages }).finalMessage();
    assert.equal(first.stop_reason, 'tool_use');
    const call = first.content.find((block) => block.type === 'tool_use');
    assert.equal(call.input.minutes, 5);
    messages.push({ role: 'assistant', content: first.content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'ok' }] });
    const second = await anthropic.messages.create({ ...request, messages });
    const first_total = first.usage.input_tokens + first.usage.cache_read_input_tokens + first.usage.output_tokens;
    assert.equal(second.usage.cache_read_input_tokens, first_total);
  },

  async 'anthropic: a forced tool, a stop sequence, errors'() {
    const forced = await anthropic.messages.create({ model, max_tokens: 300, messages: ask('Hello'), tools: claudeTools, tool_choice: { type: 'any' } });
    assert.equal(forced.content.at(-1).name, 'set_timer');
    const stopped = await anthropic.messages.create({ model, max_tokens: 300, temperature: 0, messages: ask('What is the capital of France?'), stop_sequences: ['Paris'] });
    assert.equal(stopped.stop_reason, 'stop_sequence');
    assert.equal(stopped.stop_sequence, 'Paris');
    await assert.rejects(anthropic.messages.create({ model, messages: ask('x') }), Anthropic.BadRequestError);
    await assert.rejects(anthropic.messages.create({ model: 'claude', max_tokens: 5, messages: ask('x') }), Anthropic.NotFoundError);
  },
};

for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok: ${name}`);
  } catch (error) {
    console.error(`FAILED: ${name}`);
    console.error(error);
    process.exit(1);
  }
}
console.log(`${Object.keys(tests).length} tests of the official clients passed`);
process.exit(0);
